/** Which sections of the page concern a device: ids, the most important first; none if unknown. */
export function sectionsFor(userAgent, touchPoints) {
  const isFirefox = /Firefox\//.test(userAgent);
  if (/Android/.test(userAgent)) return ["android"];
  if (/iPhone|iPad|iPod/.test(userAgent)) return ["apple"];
  if (/Macintosh/.test(userAgent) && touchPoints > 1) return ["apple"]; // an iPad says so
  const system = [["windows", /Windows/], ["macos", /Macintosh/], ["linux", /Linux|X11|CrOS/]]
    .filter(([, mark]) => mark.test(userAgent))
    .map(([id]) => id);
  if (!isFirefox) return system;
  return system[0] === "linux" ? ["firefox"] : [...system, "firefox"];
}
