// Transcribes a file of 24 kHz PCM with OpenAI's client for Node; prints each event as a line.
// The address of the server is in OPENAI_BASE_URL; NODE_EXTRA_CA_CERTS names its certificate.
import { readFileSync } from "node:fs";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";

const CHUNK_BYTES = 4800;
const pcm = readFileSync(process.argv[2]);
const realtime = new OpenAIRealtimeWS({ model: "gpt-realtime-whisper" }, new OpenAI({ apiKey: "none" }));

const answers = {
  "session.created": () =>
    realtime.send({
      type: "session.update",
      session: { type: "transcription", audio: { input: { format: { type: "audio/pcm", rate: 24000 } } } },
    }),
  "session.updated": () => {
    for (let start = 0; start < pcm.length; start += CHUNK_BYTES) {
      const audio = pcm.subarray(start, start + CHUNK_BYTES).toString("base64");
      realtime.send({ type: "input_audio_buffer.append", audio });
    }
    realtime.send({ type: "input_audio_buffer.commit" });
  },
  "conversation.item.input_audio_transcription.completed": () => realtime.close(),
};

realtime.on("event", (event) => {
  console.log(JSON.stringify(event));
  answers[event.type]?.();
});
realtime.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
