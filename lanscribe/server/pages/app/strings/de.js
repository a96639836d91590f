/** German. {name} stands for a value. */
export default {
  // the frame
  "title": "lanscribe",
  "skip": "Zum Inhalt springen",
  "nav": "Ansichten",
  "nav.live": "Live",
  "nav.files": "Dateien",
  "nav.past": "Archiv",
  "nav.settings": "Einstellungen",
  "close": "Schließen",
  "length.s": "{s} s",
  "length.min": "{min} min",
  "length.h": "{h} h {min} min",
  "kept.refused": "Dieser Browser behält hier nichts, etwa in einem privaten Fenster: Die Texte gehen verloren, wenn du die Seite schließt. Lade herunter, was du brauchst.",
  "kept.full": "Auf diesem Gerät ist kein Platz mehr: Die neuesten Wörter werden nicht aufbewahrt. Lösche alte Texte oder andere Dateien.",

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
  "take.copy": "Kopieren",
  "take.copied": "Der Text ist in der Zwischenablage.",
  "take.not_copied": "Der Browser erlaubt dieser Seite nicht zu kopieren.",
  "take.share": "Teilen",
  "take.not_shared": "Dieses Gerät konnte den Text nicht teilen.",
  "take.download": "Herunterladen",
  "take.txt": "Text zum Lesen",
  "take.srt": "Untertitel",
  "take.vtt": "Untertitel für Webseiten",
  "take.json": "Wörter mit Zeiten, für Programme",
};
