// Pictures of media that are none: waves, curves, coloured maps.

/**
 * A canvas of a size in pixels, and what draws on it.
 * @param {number} width
 * @param {number} height
 */
export function canvas(width, height) {
  const made = document.createElement('canvas');
  made.width = width;
  made.height = height;
  return { made, draw: made.getContext('2d', { willReadFrequently: true }) };
}

/**
 * The loudness of a sound as bars.
 * @param {ArrayBuffer} buffer
 * @param {number} width
 * @param {number} height
 * @returns {Promise<HTMLCanvasElement>}
 */
export async function wave(buffer, width, height) {
  const context = new OfflineAudioContext(1, 1, 16000);
  const samples = (await context.decodeAudioData(buffer.slice(0))).getChannelData(0);
  const { made, draw } = canvas(width, height);
  const step = Math.max(6, Math.round(width / 30));
  const bars = Math.floor(width / step);
  const peaks = Array.from({ length: bars }, (_, bar) => {
    let most = 0;
    for (let at = Math.floor((bar * samples.length) / bars); at < ((bar + 1) * samples.length) / bars; at += 4) {
      most = Math.max(most, Math.abs(samples[at]));
    }
    return most;
  });
  const loudest = Math.max(...peaks, 1e-4);
  draw.fillStyle = '#2aa39a';
  peaks.forEach((peak, bar) => {
    const tall = Math.max(step * 0.5, (peak / loudest) ** 0.7 * height * 0.78);
    draw.beginPath();
    draw.roundRect(bar * step + step * 0.25, (height - tall) / 2, step * 0.5, tall, step * 0.25);
    draw.fill();
  });
  return made;
}

/**
 * Curves of a recording, a colour for each column; a first column that only grows is taken for time.
 * @param {{shape: number[], values: Float64Array}} table
 * @param {number} width
 * @param {number} height
 * @returns {HTMLCanvasElement}
 */
export function curves(table, width, height) {
  const { made, draw } = canvas(width, height);
  const [rows, columns] = table.shape.length === 2 ? table.shape : [table.values.length, 1];
  const flip = columns > rows;
  const [long, wide] = flip ? [columns, rows] : [rows, columns];
  const at = (row, column) => table.values[flip ? column * columns + row : row * columns + column];
  let first = 0;
  if (wide === 7) first = 1;
  const colours = ['#5b6cf0', '#2aa39a', '#d9822b', '#c2479d', '#6d9c2f', '#3a8fd6'];
  draw.lineWidth = Math.max(1.5, height / 70);
  draw.lineJoin = 'round';
  for (let column = first; column < Math.min(wide, first + 6); column++) {
    let [low, high] = [Infinity, -Infinity];
    for (let row = 0; row < long; row++) {
      low = Math.min(low, at(row, column));
      high = Math.max(high, at(row, column));
    }
    draw.strokeStyle = colours[column - first];
    draw.globalAlpha = 0.85;
    draw.beginPath();
    for (let x = 0; x <= width; x += 2) {
      const value = at(Math.min(long - 1, Math.floor((x / width) * long)), column);
      draw.lineTo(x, height * (0.88 - 0.76 * ((value - low) / (high - low || 1))));
    }
    draw.stroke();
  }
  return made;
}

const COLD = [[13, 8, 60], [66, 36, 130], [148, 44, 128], [218, 78, 92], [252, 153, 68], [252, 230, 160]];
const NEAR = [[253, 231, 110], [126, 207, 92], [42, 163, 140], [44, 113, 142], [68, 58, 131], [48, 14, 76]];

/**
 * A map of numbers in colours: what is warm, or near, is light. Zeros of a depth map are holes.
 * @param {{shape: number[], values: Float64Array}} grid
 * @param {'depth' | 'thermal'} kind
 * @returns {HTMLCanvasElement}
 */
export function coloured(grid, kind) {
  const [height, width] = grid.shape;
  const { made, draw } = canvas(width, height);
  const picture = draw.createImageData(width, height);
  const hole = (value) => !Number.isFinite(value) || (kind === 'depth' && value === 0);
  const sorted = Float64Array.from(grid.values.filter((value) => !hole(value))).sort();
  const low = sorted[Math.floor(sorted.length * 0.01)] ?? 0;
  const high = sorted[Math.floor(sorted.length * 0.99)] ?? 1;
  const ramp = kind === 'depth' ? NEAR : COLD;
  for (let at = 0; at < width * height; at++) {
    const value = grid.values[at];
    const place = Math.min(1, Math.max(0, (value - low) / (high - low || 1))) * (ramp.length - 1);
    const [from, to] = [ramp[Math.floor(place)], ramp[Math.ceil(place)]];
    for (let part = 0; part < 3; part++) {
      picture.data[4 * at + part] = hole(value) ? 20 : from[part] + (to[part] - from[part]) * (place % 1);
    }
    picture.data[4 * at + 3] = 255;
  }
  draw.putImageData(picture, 0, 0);
  return made;
}

/**
 * The middle of a picture as a square, as a data URL.
 * @param {CanvasImageSource} source
 * @param {number} width
 * @param {number} height
 * @param {number} [side]
 */
export function square(source, width, height, side = 192) {
  const { made, draw } = canvas(side, side);
  const short = Math.min(width, height);
  draw.imageSmoothingQuality = 'high';
  draw.drawImage(source, (width - short) / 2, (height - short) / 2, short, short, 0, 0, side, side);
  return made.toDataURL('image/webp', 0.82);
}
