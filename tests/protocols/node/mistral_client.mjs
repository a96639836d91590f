// Transcribes a file of 16 kHz PCM by Mistral's realtime protocol with Vercel's AI SDK, as its
// documents have it; prints each part as a line. The address of the server is in MISTRAL_BASE_URL;
// with TURN_DETECTION set, the server finds the turns.
import { readFileSync } from "node:fs";
import { createMistral } from "@ai-sdk/mistral";
import { experimental_streamTranscribe as streamTranscribe } from "ai";
import { WebSocket } from "ws";

const CHUNK_BYTES = 3200;
const turns = process.env.TURN_DETECTION ? { turnDetection: {} } : {};
const pcm = readFileSync(process.argv[2]);
const audio = new ReadableStream({
  start(controller) {
    for (let start = 0; start < pcm.length; start += CHUNK_BYTES) {
      controller.enqueue(new Uint8Array(pcm.subarray(start, start + CHUNK_BYTES)));
    }
    controller.close();
  },
});
const mistral = createMistral({
  apiKey: "none",
  baseURL: process.env.MISTRAL_BASE_URL,
  webSocket: WebSocket,
});

const result = streamTranscribe({
  model: mistral.transcription("voxtral-mini-transcribe-realtime-3"),
  audio,
  inputAudioFormat: { type: "audio/pcm", rate: 16000 },
  providerOptions: { mistral: { language: "en", targetStreamingDelayMs: 480, ...turns } },
});
for await (const part of result.fullStream) {
  if (part.type === "error") throw part.error;
  console.log(JSON.stringify(part));
}
console.log(JSON.stringify({ type: "finish", text: await result.text }));
