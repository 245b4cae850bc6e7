// A picture from the camera.

import { el } from '../dom.js';
import { openDialog } from './dialog.js';

/**
 * Take a picture.
 * @returns {Promise<File | null>}
 */
export async function camera() {
  let stream = null;
  let facing = 'environment';
  const video = el('video', { class: 'camera', autoplay: true, muted: true, playsInline: true });
  const note = el('p', { class: 'device-note', t: 'cameraWaits', role: 'status' });
  const flip = el('button', { class: 'icon-button', icon: 'flip', tLabel: 'otherCamera', hidden: true, on: { click: () => turn() } });
  const take = el('button', { class: 'button primary', icon: 'camera', t: 'takePicture', disabled: true, on: { click: () => shoot() } });
  const end = () => stream?.getTracks().forEach((track) => track.stop());
  const start = async () => {
    end();
    try {
      if (!navigator.mediaDevices) throw new Error('insecure');
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing, width: { ideal: 1280 } } });
      if (!dialog.element.open) return end();
      video.srcObject = stream;
      take.disabled = false;
      note.hidden = true;
      const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind === 'videoinput');
      flip.hidden = cameras.length < 2;
    } catch (error) {
      note.hidden = false;
      note.replaceChildren(el('span', { t: whyNot(error, 'camera') }));
    }
  };
  const turn = () => {
    facing = facing === 'user' ? 'environment' : 'user';
    start();
  };
  const shoot = () => {
    const canvas = el('canvas', { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext('2d').drawImage(video, 0, 0);
    canvas.toBlob((blob) => dialog.close(new File([blob], 'camera.jpg', { type: 'image/jpeg' })), 'image/jpeg', 0.92);
  };
  const dialog = openDialog({
    t: 'camera',
    class: 'device',
    body: [el('div', { class: 'camera-frame' }, video, note)],
    actions: [flip, el('span', { class: 'grow' }), el('button', { class: 'button', t: 'cancel', on: { click: () => dialog.close() } }), take],
    onClose: end,
  });
  start();
  return dialog.closed;
}

/**
 * The key of the words that say why a device cannot be used.
 * @param {Error} error
 * @param {'camera' | 'microphone'} device
 */
export function whyNot(error, device) {
  if (error.message === 'insecure') return 'needsHttps';
  if (error.name === 'NotAllowedError') return device === 'camera' ? 'cameraRefused' : 'microphoneRefused';
  return device === 'camera' ? 'cameraMissing' : 'microphoneMissing';
}
