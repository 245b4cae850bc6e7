// Files of shapes → three.js objects, centred and of one size.

import * as three from '../../vendor/three.js';
import { extension } from './modalities.js';
import { readNpy, readTable } from './npy.js';

const COLOUR = 0x5b6cf0;

/**
 * Read a mesh or a cloud of points.
 * @param {Blob} blob
 * @param {string} name
 * @returns {Promise<three.Group>} within a ball of radius 1
 * @throws {Error} where the file cannot be shown
 */
export async function readShape(blob, name) {
  const buffer = await blob.arrayBuffer();
  const read = READERS[extension(name)] ?? READERS[sniffed(buffer)];
  if (!read) throw new Error('unknown');
  return centred(await read(buffer));
}

const READERS = {
  ply: (buffer) => solid(new three.PLYLoader().parse(buffer)),
  stl: (buffer) => solid(new three.STLLoader().parse(buffer)),
  obj: (buffer) => dressed(new three.OBJLoader().parse(text(buffer))),
  glb: async (buffer) => dressed((await gltf().parseAsync(buffer, '')).scene),
  off: (buffer) => solid(off(text(buffer))),
  pcd: (buffer) => table(readTable(text(buffer))),
  npy: (buffer) => table(readNpy(buffer)),
  xyz: (buffer) => table(readTable(text(buffer))),
  pts: (buffer) => table(readTable(text(buffer))),
  txt: (buffer) => table(readTable(text(buffer))),
  csv: (buffer) => table(readTable(text(buffer))),
};

// Textures come as pictures: the loader's usual way fetches blob: addresses, which the page's policy forbids.
function gltf() {
  const loader = new three.GLTFLoader();
  return loader.register((parser) => {
    parser.textureLoader = new three.TextureLoader(parser.options.manager);
    return { name: 'PICTURES' };
  });
}

function sniffed(buffer) {
  const head = new TextDecoder('latin1').decode(new Uint8Array(buffer, 0, Math.min(6, buffer.byteLength)));
  if (head.startsWith('ply')) return 'ply';
  if (head.startsWith('glTF')) return 'glb';
  if (head.startsWith('solid')) return 'stl';
  if (head.startsWith('OFF')) return 'off';
  return head.includes('NUMPY') ? 'npy' : 'xyz';
}

function text(buffer) {
  return new TextDecoder().decode(buffer);
}

function surface(colours) {
  return new three.MeshStandardMaterial({
    color: colours ? 0xffffff : COLOUR, vertexColors: colours, roughness: 0.55, metalness: 0.05, side: three.DoubleSide, flatShading: true,
  });
}

function solid(geometry) {
  const faces = geometry.index ? geometry.index.count : geometry.getAttribute('normal') ? geometry.getAttribute('position').count : 0;
  if (!faces || geometry.userData.cloud) return cloud(geometry);
  return new three.Mesh(geometry, surface(geometry.hasAttribute('color')));
}

function dressed(group) {
  const plain = [];
  group.traverse((one) => {
    if (one.isMesh && !one.material?.map && !one.geometry.hasAttribute('color')) one.material = surface(false);
    if (one.isPoints) plain.push(one);
  });
  for (const one of plain) one.material = dots(one.geometry);
  return group;
}

function table(found) {
  if (!found) throw new Error('unknown');
  let { shape } = found;
  if (shape.length === 3 && shape[0] === 1) shape = shape.slice(1);
  const [rows, columns] = shape;
  if (shape.length !== 2 || columns < 3) throw new Error('unknown');
  const places = new Float32Array(rows * 3);
  for (let row = 0; row < rows; row++) for (let axis = 0; axis < 3; axis++) places[3 * row + axis] = found.values[row * columns + axis];
  const geometry = new three.BufferGeometry();
  geometry.setAttribute('position', new three.BufferAttribute(places, 3));
  return cloud(geometry);
}

function cloud(geometry) {
  return new three.Points(geometry, dots(geometry));
}

function dots(geometry) {
  const colours = geometry.hasAttribute('color');
  if (!colours) shade(geometry);
  geometry.computeBoundingSphere();
  return new three.PointsMaterial({ size: geometry.boundingSphere.radius * 0.032, vertexColors: true, sizeAttenuation: true });
}

// Points have no light on them; their height gives them form.
function shade(geometry) {
  const places = geometry.getAttribute('position');
  geometry.computeBoundingBox();
  const { min, max } = geometry.boundingBox;
  const [low, high] = [new three.Color(0x3b48c8), new three.Color(0x35b8ad)];
  const colours = new Float32Array(places.count * 3);
  for (let at = 0; at < places.count; at++) {
    new three.Color().lerpColors(low, high, (places.getY(at) - min.y) / (max.y - min.y || 1)).toArray(colours, 3 * at);
  }
  geometry.setAttribute('color', new three.BufferAttribute(colours, 3));
}

function off(given) {
  const rows = given.replace(/#.*/g, '').replace(/^\s*\S*OFF/, '').trim().split(/\n+/).map((line) => line.trim().split(/\s+/).map(Number));
  const [vertices, faces] = rows[0];
  const geometry = new three.BufferGeometry();
  geometry.setAttribute('position', new three.BufferAttribute(Float32Array.from(rows.slice(1, 1 + vertices).flatMap((row) => row.slice(0, 3))), 3));
  const corners = [];
  for (const [count, ...ring] of rows.slice(1 + vertices, 1 + vertices + faces)) {
    for (let at = 2; at < count; at++) corners.push(ring[0], ring[at - 1], ring[at]);
  }
  if (corners.length) geometry.setIndex(corners);
  return geometry;
}

function centred(shape) {
  const ball = new three.Box3().setFromObject(shape).getBoundingSphere(new three.Sphere());
  if (!(ball.radius > 0)) throw new Error('empty');
  const group = new three.Group();
  shape.position.sub(ball.center);
  group.add(shape);
  group.scale.setScalar(1 / ball.radius);
  return group;
}
