/**
 * A .zip with files as they are, not compressed; every system opens it.
 * https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */

const VERSION = 20;
const UTF8 = 0x0800;
const LARGEST = 0xffffffff; // bytes, and 65,535 files: more would need ZIP64

/** Takes files, and gives them as one. */
export class Zip {
  #pieces = [];
  #entries = [];
  #at = 0;

  /** Add a file. Throws RangeError if it does not go in any more. */
  add(name, text, time) {
    const content = new TextEncoder().encode(text);
    const entry = { name: new TextEncoder().encode(name), size: content.length, crc: crc32(content), time };
    const isFull = this.#at + content.length > LARGEST || this.#entries.length === 0xffff;
    if (isFull) throw new RangeError("the .zip is full");
    this.#entries.push({ ...entry, at: this.#at });
    const head = fields([4, 0x04034b50], ...common(entry));
    this.#pieces.push(new Blob([head, entry.name, content])); // a Blob need not lie in memory
    this.#at += head.length + entry.name.length + content.length;
  }

  /** All files, as a Blob. */
  blob() {
    const listed = this.#entries.flatMap((entry) => [
      fields([4, 0x02014b50], [2, VERSION], ...common(entry), [2, 0], [2, 0], [2, 0], [4, 0], [4, entry.at]),
      entry.name,
    ]);
    const size = listed.reduce((sum, piece) => sum + piece.length, 0);
    const count = this.#entries.length;
    const counts = [[2, count], [2, count]];
    const end = fields([4, 0x06054b50], [2, 0], [2, 0], ...counts, [4, size], [4, this.#at], [2, 0]);
    return new Blob([...this.#pieces, ...listed, end], { type: "application/zip" });
  }
}

function common({ name, size, crc, time }) {
  const clock = (time.getHours() << 11) | (time.getMinutes() << 5) | (time.getSeconds() >> 1);
  const day = ((time.getFullYear() - 1980) << 9) | ((time.getMonth() + 1) << 5) | time.getDate();
  const sizes = [[4, crc], [4, size], [4, size], [2, name.length], [2, 0]];
  return [[2, VERSION], [2, UTF8], [2, 0], [2, clock], [2, day], ...sizes];
}

/** Numbers of two or four bytes, the lowest byte first. */
function fields(...numbers) {
  const view = new DataView(new ArrayBuffer(numbers.reduce((sum, [size]) => sum + size, 0)));
  let at = 0;
  for (const [size, number] of numbers) {
    if (size === 2) view.setUint16(at, number, true);
    else view.setUint32(at, number, true);
    at += size;
  }
  return new Uint8Array(view.buffer);
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = (value >>> 8) ^ TABLE[(value ^ byte) & 0xff];
  return (value ^ 0xffffffff) >>> 0;
}
