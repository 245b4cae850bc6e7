// NumPy arrays and tables of numbers → { shape, values }.

const TYPES = {
  f4: ['getFloat32', 4], f8: ['getFloat64', 8], i1: ['getInt8', 1], u1: ['getUint8', 1], i2: ['getInt16', 2],
  u2: ['getUint16', 2], i4: ['getInt32', 4], u4: ['getUint32', 4],
};

/**
 * The shape of a .npy file by its beginning, without axes of length 1; null where it is none.
 * @param {ArrayBuffer} buffer
 * @returns {number[] | null}
 */
export function readShape(buffer) {
  if (buffer.byteLength < 12 || new DataView(buffer).getUint32(0) !== 0x934e554d) return null;
  const found = /'shape':\s*\(([^)]*)\)/.exec(new TextDecoder('latin1').decode(buffer));
  return found && found[1].split(',').filter((one) => one.trim()).map(Number).filter((one) => one !== 1);
}

/**
 * Read a .npy file.
 * @param {ArrayBuffer} buffer
 * @returns {{shape: number[], values: Float64Array} | null} null where it is none that a page can read
 */
export function readNpy(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 12 || view.getUint32(0) !== 0x934e554d) return null;
  const old = view.getUint8(6) === 1;
  const start = old ? 10 : 12;
  const length = old ? view.getUint16(8, true) : view.getUint32(8, true);
  const head = new TextDecoder('latin1').decode(new Uint8Array(buffer, start, length));
  const kind = /'descr':\s*'([<>|=]?)(\w\d)'/.exec(head);
  const shape = (/'shape':\s*\(([^)]*)\)/.exec(head)?.[1] ?? '').split(',').filter((one) => one.trim()).map(Number);
  if (!kind || !(kind[2] in TYPES) || /'fortran_order':\s*True/.test(head)) return null;
  const [read, size] = TYPES[kind[2]];
  const count = shape.reduce((total, one) => total * one, 1);
  if (start + length + count * size > buffer.byteLength) return null;
  const values = new Float64Array(count);
  for (let at = 0; at < count; at++) values[at] = view[read](start + length + at * size, kind[1] !== '>');
  return { shape, values };
}

/**
 * Read lines of numbers (xyz, pts, csv, tsv); lines that are none are passed over.
 * @param {string} text
 * @returns {{shape: number[], values: Float64Array} | null}
 */
export function readTable(text) {
  const rows = [];
  for (const line of text.split('\n')) {
    const row = line.trim().split(/[\s,;]+/).map(Number);
    if (row.length >= 3 && row.every(Number.isFinite) && line.trim()) rows.push(row);
  }
  if (!rows.length) return null;
  const width = rows[rows.length - 1].length;
  const even = rows.filter((row) => row.length === width);
  return { shape: [even.length, width], values: Float64Array.from(even.flat()) };
}
