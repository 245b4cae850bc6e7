// Shapes that can be turned, and pictures of them.

import * as three from '../../vendor/three.js';
import { lessMotion } from '../dom.js';
import { readShape } from './shapes.js';

/**
 * Show a shape in an element; it turns slowly until somebody takes hold of it.
 * @param {HTMLElement} host
 * @param {Blob} blob
 * @param {string} name
 * @returns {Promise<() => void>} what ends it
 */
export async function show(host, blob, name) {
  const { scene, camera } = stage(await readShape(blob, name));
  const renderer = new three.WebGLRenderer({ antialias: true, alpha: true });
  renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
  host.append(renderer.domElement);
  const controls = new three.OrbitControls(camera, renderer.domElement);
  controls.enableDamping = !lessMotion();
  controls.autoRotate = !lessMotion();
  controls.autoRotateSpeed = 1.6;
  controls.minDistance = 1.2;
  controls.maxDistance = 12;
  controls.addEventListener('start', () => { controls.autoRotate = false; });
  renderer.domElement.addEventListener('keydown', (event) => turn(event, camera, controls));
  renderer.domElement.tabIndex = 0;
  const fit = () => {
    const { clientWidth: width, clientHeight: height } = host;
    if (!width || !height) return;
    renderer.setSize(width, height);
    camera.aspect = width / height;
    camera.updateProjectionMatrix();
  };
  const watcher = new ResizeObserver(fit);
  watcher.observe(host);
  fit();
  renderer.setAnimationLoop(() => {
    controls.update();
    renderer.render(scene, camera);
  });
  return () => {
    watcher.disconnect();
    renderer.setAnimationLoop(null);
    controls.dispose();
    forget(scene);
    renderer.dispose();
    renderer.forceContextLoss();
    renderer.domElement.remove();
  };
}

/**
 * A small picture of a shape.
 * @param {Blob} blob
 * @param {string} name
 * @returns {Promise<string>} a data URL
 */
export async function picture(blob, name) {
  const { scene, camera } = stage(await readShape(blob, name));
  const renderer = new three.WebGLRenderer({ antialias: true, alpha: true, preserveDrawingBuffer: true });
  renderer.setSize(192, 192, false);
  renderer.render(scene, camera);
  const url = renderer.domElement.toDataURL();
  forget(scene);
  renderer.dispose();
  renderer.forceContextLoss();
  return url;
}

function stage(shape) {
  const scene = new three.Scene();
  const sun = new three.DirectionalLight(0xffffff, 2.4);
  sun.position.set(2, 4, 3);
  scene.add(shape, new three.HemisphereLight(0xffffff, 0x8890c0, 1.5), sun);
  const camera = new three.PerspectiveCamera(38, 1, 0.05, 50);
  camera.position.set(1.9, 1.25, 2.5);
  camera.lookAt(0, 0, 0);
  return { scene, camera };
}

function turn(event, camera, controls) {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const zooms = { '+': 0.9, '=': 0.9, '-': 1.1 };
  if (event.key in zooms) camera.position.multiplyScalar(zooms[event.key]);
  else if (event.key in steps) {
    const [tilt, spin] = steps[event.key];
    const place = camera.position;
    const far = place.length();
    const polar = Math.min(3, Math.max(0.14, Math.acos(place.y / far) + tilt * 0.12));
    const around = Math.atan2(place.x, place.z) + spin * 0.15;
    place.set(far * Math.sin(polar) * Math.sin(around), far * Math.cos(polar), far * Math.sin(polar) * Math.cos(around));
  } else return;
  event.preventDefault();
  controls.autoRotate = false;
}

function forget(scene) {
  scene.traverse((one) => {
    one.geometry?.dispose();
    for (const material of [one.material ?? []].flat()) material.dispose();
  });
}
