// Grey PNGs of 16 bits: a browser shows only their upper byte, which leaves depth maps black.

/**
 * Read a grey PNG of 16 bits.
 * @param {ArrayBuffer} buffer
 * @returns {Promise<{shape: number[], values: Float64Array} | null>} null where it is another kind of picture
 */
export async function readGrey16(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 33 || view.getUint32(0) !== 0x89504e47) return null;
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const plain = view.getUint8(24) === 16 && view.getUint8(25) === 0 && view.getUint8(28) === 0;
  if (!plain || width * height > 16_000_000) return null;
  const pieces = [];
  for (let at = 8; at + 12 <= buffer.byteLength; at += 12 + view.getUint32(at)) {
    if (view.getUint32(at + 4) === 0x49444154) pieces.push(new Uint8Array(buffer, at + 8, view.getUint32(at)));
  }
  const stream = new Blob(pieces).stream().pipeThrough(new DecompressionStream('deflate'));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  const rows = unfilter(raw, width * 2, height);
  const values = new Float64Array(width * height);
  for (let at = 0; at < values.length; at++) values[at] = rows[2 * at] * 256 + rows[2 * at + 1];
  return { shape: [height, width], values };
}

function unfilter(raw, width, height) {
  const rows = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const kind = raw[y * (width + 1)];
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      const left = x >= 2 ? rows[at - 2] : 0;
      const up = y ? rows[at - width] : 0;
      const corner = x >= 2 && y ? rows[at - width - 2] : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][kind] ?? 0;
      rows[at] = raw[y * (width + 1) + 1 + x] + guess;
    }
  }
  return rows;
}

function paeth(left, up, corner) {
  const from = left + up - corner;
  const [a, b, c] = [Math.abs(from - left), Math.abs(from - up), Math.abs(from - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
