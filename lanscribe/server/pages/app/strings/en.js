/** English. {name} stands for a value. */
export default {
  // the frame
  "title": "lanscribe",
  "skip": "Skip to the content",
  "nav": "Views",
  "nav.live": "Live",
  "nav.files": "Files",
  "nav.past": "Past",
  "nav.settings": "Settings",
  "close": "Close",
  "length.s": "{s} s",
  "length.min": "{min} min",
  "length.h": "{h} h {min} min",
  "kept.refused": "This browser keeps nothing here, in a private window for example: transcripts are lost when you close the page. Download what you need.",
  "kept.full": "There is no room left on this device: the newest words are not kept. Delete old transcripts or other files.",

  // live
  "gap.paused": "Paused from {from} to {to}",
  "gap.paused.open": "Paused since {from}",
  "gap.no_sound": "No sound from {from} to {to}",
  "gap.no_sound.open": "No sound since {from}",
  "gap.lost": "The box could not transcribe {from} to {to}",
  "gap.lost.open": "The box could not transcribe what was said since {from}",
  "gap.forgotten": "Lost from {from} to {to}: the box was away for longer than this device keeps sound",
  "gap.forgotten.open": "Lost since {from}: the box was away for longer than this device keeps sound",
  "gap.damaged": "The file is damaged from {from} to {to}",
  "gap.damaged.open": "The file is damaged from {from} on",
  "gap.cut_off": "The file is cut off at {from}; its end would be at {to}",
  "gap.cut_off.open": "The file is cut off at {from}",
  "gap.gap": "Nothing was recorded from {from} to {to}",
  "gap.gap.open": "Nothing was recorded from {from} on",
  "gap.too_long": "The file is too long: not read from {from} to {to}",
  "gap.too_long.open": "The file is too long: not read from {from} on",

  // files

  // past

  // settings

  // taking text away: copy, share, download
  "take.copy": "Copy",
  "take.copied": "The text is in the clipboard.",
  "take.not_copied": "The browser does not allow this page to copy.",
  "take.share": "Share",
  "take.not_shared": "This device could not share the text.",
  "take.download": "Download",
  "take.txt": "text to read",
  "take.srt": "subtitles",
  "take.vtt": "subtitles for web pages",
  "take.json": "words with times, for programs",
};
