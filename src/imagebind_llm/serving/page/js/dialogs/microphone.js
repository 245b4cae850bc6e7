// A recording from the microphone, as WAV.

import { el } from '../dom.js';
import { resample, wav } from '../media/wav.js';
import { whyNot } from './camera.js';
import { openDialog } from './dialog.js';

const RATE = 16000;
const LONGEST = 30;

/**
 * Record a sound.
 * @returns {Promise<File | null>}
 */
export async function microphone() {
  let recording = null;
  let made = null;
  const level = el('canvas', { class: 'level', width: 640, height: 160 });
  const time = el('p', { class: 'level-time number', text: '0.0 s', role: 'timer' });
  const note = el('p', { class: 'device-note', t: 'recordHint', role: 'status' });
  const player = el('audio', { controls: true, hidden: true });
  const record = el('button', { class: 'button', icon: 'microphone', t: 'record', autofocus: true, on: { click: () => toggle() } });
  const use = el('button', { class: 'button primary', t: 'useRecording', disabled: true, on: { click: () => dialog.close(made) } });
  const words = (key) => record.replaceChildren(record.firstChild, el('span', { t: key }));
  const toggle = () => (recording ? stop() : start());
  const start = async () => {
    use.disabled = true;
    player.hidden = true;
    record.disabled = true;
    try {
      recording = await listen((peaks, seconds) => {
        meter(level, peaks);
        time.textContent = `${seconds.toFixed(1)} s`;
        if (seconds >= LONGEST) stop();
      });
      note.hidden = true;
      words('stopRecording');
      if (!dialog.element.open) recording.end();
    } catch (error) {
      note.hidden = false;
      note.replaceChildren(el('span', { t: whyNot(error, 'microphone') }));
    }
    record.disabled = false;
  };
  const stop = async () => {
    const { samples, rate } = recording.end();
    recording = null;
    words('recordAgain');
    if (!samples.length) return;
    const blob = wav(await resample(samples, rate, RATE), RATE);
    made = new File([blob], 'recording.wav', { type: 'audio/wav' });
    if (player.src) URL.revokeObjectURL(player.src);
    player.src = URL.createObjectURL(blob);
    player.hidden = false;
    use.disabled = false;
    use.focus();
  };
  const dialog = openDialog({
    t: 'microphone',
    class: 'device',
    body: [el('div', { class: 'level-frame' }, level, time), note, player],
    actions: [record, el('span', { class: 'grow' }), el('button', { class: 'button', t: 'cancel', on: { click: () => dialog.close() } }), use],
    onClose: () => {
      recording?.end();
      if (player.src) URL.revokeObjectURL(player.src);
    },
  });
  meter(level, []);
  return dialog.closed;
}

async function listen(onLevel) {
  if (!navigator.mediaDevices) throw new Error('insecure');
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const context = new AudioContext();
  await context.audioWorklet.addModule(new URL('../media/recorder-worklet.js', import.meta.url));
  const node = new AudioWorkletNode(context, 'recorder', { numberOfOutputs: 0 });
  const blocks = [];
  const peaks = [];
  let count = 0;
  node.port.onmessage = ({ data }) => {
    blocks.push(data);
    count += data.length;
    if (blocks.length % 24) return;
    peaks.push(Math.max(...blocks.slice(-24).map((block) => block.reduce((most, one) => Math.max(most, Math.abs(one)), 0))));
    onLevel(peaks, count / context.sampleRate);
  };
  context.createMediaStreamSource(stream).connect(node);
  return {
    end() {
      node.port.onmessage = null;
      stream.getTracks().forEach((track) => track.stop());
      const { sampleRate: rate } = context;
      context.close();
      const samples = new Float32Array(count);
      let at = 0;
      for (const block of blocks) {
        samples.set(block, at);
        at += block.length;
      }
      return { samples, rate };
    },
  };
}

function meter(canvas, peaks) {
  const draw = canvas.getContext('2d');
  const { width, height } = canvas;
  const step = 10;
  const shown = peaks.slice(-Math.floor(width / step));
  draw.clearRect(0, 0, width, height);
  for (let at = 0; at < width / step; at++) {
    const peak = shown[at - (Math.floor(width / step) - shown.length)];
    const tall = peak === undefined ? 4 : Math.max(6, Math.min(1, peak * 1.6) * height * 0.9);
    draw.fillStyle = peak === undefined ? 'rgb(128 128 140 / 35%)' : '#2aa39a';
    draw.beginPath();
    draw.roundRect(at * step + 2, (height - tall) / 2, step - 4, tall, 3);
    draw.fill();
  }
}
