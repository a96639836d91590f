/** English. {name} stands for a value. */
export default {
  // the frame
  "skip": "Skip to the content",
  "nav.live": "Live",
  "nav.files": "Files",
  "nav.past": "Past",
  "nav.settings": "Settings",

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

};
