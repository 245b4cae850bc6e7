// Sound → WAV, PCM of 16 bits, one channel.

/**
 * Bring samples to another rate.
 * @param {Float32Array} samples
 * @param {number} from rate
 * @param {number} to rate
 * @returns {Promise<Float32Array>}
 */
export async function resample(samples, from, to) {
  if (from === to || !samples.length) return samples;
  const context = new OfflineAudioContext(1, Math.ceil((samples.length * to) / from), to);
  const buffer = context.createBuffer(1, samples.length, from);
  buffer.copyToChannel(samples, 0);
  const source = context.createBufferSource();
  source.buffer = buffer;
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

/**
 * A WAV file of samples between -1 and 1.
 * @param {Float32Array} samples
 * @param {number} rate
 * @returns {Blob}
 */
export function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const words = (at, text) => [...text].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  words(0, 'RIFF');
  view.setUint32(4, 36 + samples.length * 2, true);
  words(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  words(36, 'data');
  view.setUint32(40, samples.length * 2, true);
  samples.forEach((sample, index) => {
    const value = Math.max(-1, Math.min(1, sample));
    view.setInt16(44 + 2 * index, value < 0 ? value * 0x8000 : value * 0x7fff, true);
  });
  return new Blob([view], { type: 'audio/wav' });
}
