/** German. {name} stands for a value. */
export default {
  // the frame
  "skip": "Zum Inhalt",
  "nav.live": "Live",
  "nav.files": "Dateien",
  "nav.past": "Archiv",
  "nav.settings": "Einstellungen",

  // live
  "gap.paused": "Pause von {from} bis {to}",
  "gap.paused.open": "Pause seit {from}",
  "gap.no_sound": "Kein Ton von {from} bis {to}",
  "gap.no_sound.open": "Kein Ton seit {from}",
  "gap.lost": "Die Box konnte {from} bis {to} nicht mitschreiben",
  "gap.lost.open": "Die Box konnte nicht mitschreiben, was seit {from} gesagt wurde",
  "gap.forgotten": "Verloren von {from} bis {to}: die Box war länger weg, als dieses Gerät den Ton behält",
  "gap.forgotten.open": "Verloren seit {from}: die Box war länger weg, als dieses Gerät den Ton behält",
  "gap.damaged": "Die Datei ist von {from} bis {to} beschädigt",
  "gap.damaged.open": "Die Datei ist ab {from} beschädigt",
  "gap.cut_off": "Die Datei bricht bei {from} ab; ihr Ende wäre bei {to}",
  "gap.cut_off.open": "Die Datei bricht bei {from} ab",
  "gap.gap": "Von {from} bis {to} wurde nichts aufgenommen",
  "gap.gap.open": "Ab {from} wurde nichts aufgenommen",
  "gap.too_long": "Die Datei ist zu lang: {from} bis {to} wurde nicht gelesen",
  "gap.too_long.open": "Die Datei ist zu lang: ab {from} wurde nichts gelesen",

  // files

  // past

  // settings

  // taking text away: copy, share, download

};
