/** German. {name} stands for a value. */
export default {
  // the frame
  "skip": "Zum Inhalt",
  "nav.live": "Live",
  "nav.files": "Dateien",
  "nav.past": "Archiv",
  "nav.settings": "Einstellungen",

  // live

  // files

  // past

  // settings

  // taking text away: copy, share, download

};
