"""What pages do to a box, in JavaScript: each function says what it got."""

ASK = """async (url, options) => {
  try {
    const answer = await fetch(url, options);
    await answer.text();
    return answer.type === "opaque" ? "unreadable" : answer.status;
  } catch {
    return "unreadable";
  }
}"""
"""fetch: the status; "unreadable" where the page is not to know it."""

TRANSCRIBE = """async (url, wave, options) => {
  const form = new FormData();
  const bytes = Uint8Array.from(atob(wave), (letter) => letter.charCodeAt(0));
  form.append("file", new Blob([bytes], { type: "audio/wav" }), "sound.wav");
  try {
    const answer = await fetch(url, { method: "POST", body: form, ...options });
    return answer.type === "opaque" ? "unreadable" : answer.status;
  } catch {
    return "unreadable";
  }
}"""
"""The form of an upload, as every page may send it. wave: base64."""

DIAL = """(url, protocols) => new Promise((resolve) => {
  const socket = new WebSocket(url, protocols);
  socket.onmessage = (message) => {
    resolve(JSON.parse(message.data).type);
    socket.close();
  };
  socket.onerror = () => resolve("refused");
})"""
"""A WebSocket: the type of the first message; "refused" if it does not open."""

LOAD = """(kind, url) => new Promise((resolve) => {
  const element = document.createElement(kind);
  element.onload = () => resolve("loaded");
  element.onerror = () => resolve("refused");
  element.src = url;
  document.body.append(element);
})"""
"""An element that loads something by itself: a picture or a script."""

SIGN_IN = """async (key) => {
  const body = new URLSearchParams({ key });
  const answer = await fetch("/sign-in", { method: "POST", body, redirect: "manual" });
  return answer.type === "opaqueredirect" ? "signed in" : answer.status;
}"""
"""What the form of the page /sign-in sends."""

SPEAK = """(url, model, chunks) => new Promise((resolve) => {
  const text = new Promise((done) => {
    window.end = done;
  });
  window.session = { socket: new WebSocket(url), text };
  const send = (event) => window.session.socket.send(JSON.stringify(event));
  window.say = (sounds) => {
    for (const audio of sounds) send({ type: "input_audio_buffer.append", audio });
  };
  window.session.socket.onclose = () => window.end("closed");
  window.session.socket.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.type === "session.created") {
      send({ type: "session.update", model });
      send({ type: "input_audio_buffer.commit", final: false });
      window.say(chunks);
    }
    if (event.type === "transcription.delta") resolve(event.delta);
    if (event.type === "transcription.done") window.end(event.text);
  };
})"""
"""A session of vLLM's dialect that stays open: its first delta. chunks: PCM, base64."""

SPEAK_ON = """async (chunks) => {
  window.say(chunks);
  window.session.socket.send(JSON.stringify({ type: "input_audio_buffer.commit", final: true }));
  return await window.session.text;
}"""
"""The end of that session: its whole text, or "closed"."""

MICROPHONE = """async () => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const [track] = stream.getTracks();
  return [track.kind, track.readyState, track.muted];
}"""
"""The microphone as a page gets it."""

LISTEN = """async () => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const until = performance.now() + 20_000;
  let loudest = 0;
  while (loudest < 0.01 && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    analyser.getFloatTimeDomainData(samples);
    loudest = Math.max(...samples.map(Math.abs));
  }
  for (const track of stream.getTracks()) track.stop();
  await context.close();
  return loudest;
}"""
"""The microphone: the loudest sample so far, as soon as it is no silence, or after 20 s."""
