/** English. {name} stands for a value. */
export default {
  // the frame
  "skip": "Skip to the content",
  "nav.live": "Live",
  "nav.files": "Files",
  "nav.past": "Past",
  "nav.settings": "Settings",

  // live

  // files

  // past

  // settings

  // taking text away: copy, share, download

};
