// A zip archive of files that are compressed already, stored as they are (PKWARE's APPNOTE 6.3.3, 4.3.7, 4.3.12 and 4.3.16).

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});
const [UTF8, FIRST_DAY] = [1 << 11, 0x21]; // names are UTF-8; 1 January 1980

function crc32(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = CRC[(sum ^ byte) & 0xff] ^ (sum >>> 8);
  return ~sum >>> 0;
}

// Numbers as little-endian bytes: [number, how many bytes] each.
function packed(...fields) {
  return Uint8Array.from(fields.flatMap(([value, size]) => Array.from({ length: size }, (_, k) => (value / 2 ** (8 * k)) & 0xff)));
}

// files: {name: Blob}.
export async function archive(files) {
  const [parts, directory] = [[], []];
  let [offset, entries] = [0, 0];
  for (const [name, blob] of Object.entries(files)) {
    const [path, bytes] = [new TextEncoder().encode(name), new Uint8Array(await blob.arrayBuffer())];
    const size = [[bytes.length, 4], [bytes.length, 4], [path.length, 2], [0, 2]];
    const about = [[20, 2], [UTF8, 2], [0, 2], [0, 2], [FIRST_DAY, 2], [crc32(bytes), 4], ...size];
    const head = packed([0x04034b50, 4], ...about);
    parts.push(head, path, bytes);
    directory.push(packed([0x02014b50, 4], [20, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), path);
    offset += head.length + path.length + bytes.length;
    entries += 1;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = packed([0x06054b50, 4], [0, 4], [entries, 2], [entries, 2], [length, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
