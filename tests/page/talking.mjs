// Sends sound to a server as the page does; prints the words, and what became of the sound.
// Arguments: the server's URL, a file of PCM, milliseconds between blocks (0: as fast as it goes), and
// at which samples the speaker pauses.

import { readFileSync } from "node:fs";
import { Ring } from "../../lanscribe/server/pages/app/audio/ring.js";
import { lookAtBox } from "../../lanscribe/server/pages/app/talk/box.js";
import { Talk } from "../../lanscribe/server/pages/app/talk/talk.js";

const BLOCK_SAMPLES = 1280;
const [url, file, everyMs, ...pauses] = process.argv.slice(2);
const bytes = readFileSync(file);
const sound = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
const ring = new Ring(16_000 * 1800);
const told = { pieces: [], lost: [], noticed: [], states: [], tentative: [] };
const look = () => lookAtBox((path) => fetch(url.replace("ws", "http").replace("/v1/realtime", path)));
let finish;
const finished = new Promise((resolve) => (finish = resolve));
let isOver = false;

const talk = new Talk({
  ring,
  url,
  Socket: globalThis.WebSocket,
  look,
  told: {
    said: (pieces) => told.pieces.push(...pieces),
    lost: (...part) => told.lost.push(part),
    noticed: (code) => told.noticed.push(code),
    changed: () => {
      const state = [talk.state, talk.why].filter(Boolean).join(" ");
      if (told.states.at(-1) !== state) {
        told.states.push(state);
        process.stderr.write(`${state}\n`);
      }
      if (talk.tentative) told.tentative.push(talk.tentative);
      if (isOver && talk.isSettled) finish();
    },
  },
});

function record(at) {
  const next = Math.min(at + BLOCK_SAMPLES, sound.length, ...pauses.map(Number).filter((pause) => pause > at));
  ring.append(sound.subarray(at, next));
  talk.push();
  if (pauses.includes(String(next))) talk.end();
  return next;
}

let at = 0;
await new Promise((resolve) => {
  const step = () => {
    if (Number(everyMs)) at = record(at);
    else while (at < sound.length) at = record(at);
    if (at < sound.length) setTimeout(step, Number(everyMs));
    else resolve();
  };
  step();
});
isOver = true;
talk.end();
if (!talk.isSettled) await finished;
talk.close();
process.stdout.write(JSON.stringify({ ...told, end: ring.end, kept: ring.end - ring.start }));
