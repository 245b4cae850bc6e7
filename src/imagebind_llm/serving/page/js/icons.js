// Line icons, 24 × 24, drawn for this page.

const PATHS = {
  plus: 'M12 5v14M5 12h14',
  close: 'M6 6l12 12M18 6L6 18',
  menu: 'M4 7h16M4 12h16M4 17h10',
  sliders: 'M4 7h9m5 0h2M4 17h2m5 0h9M15.5 4.5v5M8.5 14.5v5',
  map: 'M5 18.5V5.5M5 18.5h14M9 14h.01M12 9h.01M15.5 12h.01M17.5 7h.01M10.5 11h.01M14 15.500h.01',
  send: 'M12 19V5M6 11l6-6 6 6',
  stop: 'M7.5 7.500h9v9h-9z',
  down: 'M12 5v14M6 13l6 6 6-6',
  sun: 'M12 8.200a3.8 3.8 0 1 0 0 7.6 3.8 3.8 0 0 0 0-7.600zM12 2.800v2M12 19.200v2M2.8 12h2M19.2 12h2M5.5 5.500l1.4 1.400M17.1 17.100l1.4 1.400M5.5 18.500l1.4-1.400M17.1 6.900l1.4-1.4',
  moon: 'M19.5 14.200A8 8 0 0 1 9.8 4.500a8 8 0 1 0 9.7 9.700z',
  half: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 4v16M12 8h4.700M12 12h7M12 16h5',
  image: 'M4.5 6.500a2 2 0 0 1 2-2h11a2 2 0 0 1 2 2v11a2 2 0 0 1-2 2h-11a2 2 0 0 1-2-2zM4.5 16l4.5-4.5 7.5 7.500M14 14l2-2 3.5 3.500M15.2 8.500h.01',
  video: 'M3.5 7.500a2 2 0 0 1 2-2h8a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2h-8a2 2 0 0 1-2-2zM15.5 10.500l5-3v9l-5-3',
  audio: 'M4 10v4M8 7v10M12 4v16M16 8v8M20 10.500v3',
  text: 'M5 6.500V5h14v1.500M12 5v14M9.5 19h5',
  point: 'M12 3.500l7.5 4.200v8.600L12 20.500l-7.5-4.200V7.700zM12 12l7.5-4.300M12 12v8.500M12 12L4.5 7.7',
  depth: 'M4 18.500l5-9 3.5 5.5 2.5-4 5 7.500zM4 5.500h9M4 9h4',
  thermal: 'M10 13.700V5.500a2 2 0 1 1 4 0v8.200a4 4 0 1 1-4 0zM12 10v6.5',
  imu: 'M3.5 12h3l2.5-6 4 12 3-8 1.5 2h3',
  sensor: 'M12 12h.01M8.8 15.200a4.5 4.5 0 0 1 0-6.400M15.2 8.800a4.5 4.5 0 0 1 0 6.400M6 18a8.5 8.5 0 0 1 0-12M18 6a8.5 8.5 0 0 1 0 12',
  camera: 'M4 8.500a2 2 0 0 1 2-2h1.800l1.4-2h5.600l1.4 2H18a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2zM12 9.500a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.400z',
  pencil: 'M4.5 19.500l1-4.500L16 4.500l3.5 3.500L9 18.500zM13.5 7l3.5 3.5',
  microphone: 'M12 3.500a2.8 2.8 0 0 0-2.8 2.800v5.400a2.8 2.8 0 0 0 5.6 0V6.300A2.8 2.8 0 0 0 12 3.500zM6 11.500a6 6 0 0 0 12 0M12 17.500v3',
  file: 'M7 3.500h7l4.5 4.500v12.500H7a1.5 1.5 0 0 1-1.5-1.500V5A1.5 1.5 0 0 1 7 3.500zM14 3.500V8h4.5',
  copy: 'M9 9h10v10.500H9zM15 9V4.500H5V15h4',
  check: 'M5 12.500l4.5 4.500L19 7.5',
  again: 'M19 6v4.500h-4.500M19 10.500A7.5 7.5 0 1 0 19.5 13',
  back: 'M14.5 6l-6 6 6 6',
  forward: 'M9.5 6l6 6-6 6',
  more: 'M5.5 12h.01M12 12h.01M18.5 12h.01',
  bin: 'M5 7h14M9.5 7V4.500h5V7M7 7l.800 12.500h8.400L17 7M10.5 10.500v5.500M13.5 10.500v5.5',
  save: 'M12 4v11M7 10.500l5 5 5-5M5 20h14',
  undo: 'M8.5 5L4.5 9l4 4M4.5 9H14a5.5 5.5 0 0 1 0 11h-3',
  flip: 'M4 12a8 8 0 0 1 13.5-5.800L20 8.500M20 4v4.500h-4.500M20 12a8 8 0 0 1-13.5 5.800L4 15.500M4 20v-4.500h4.5',
  warning: 'M12 4.500l8.5 15h-17zM12 10.500v4M12 17h.01',
  key: 'M8.5 11.500a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM11.5 12.500l8-8M16 8l2.5 2.5',
  brush: 'M14 4.500l5.5 5.500-8 8-5.500-5.500zM6 12.500l5.5 5.500c-1.500 2-4.500 2-7 1.500.800-2.500 0-5 1.500-7z',
  find: 'M4.5 8.500v-4h4M15.5 4.500h4v4M19.5 15.500v4h-4M8.5 19.500h-4v-4M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z',
  similar: 'M4.5 4.500h6v6h-6zM13.5 4.500h6v6h-6zM4.5 13.500h6v6h-6zM13.5 13.500h6v6h-6z',
};
const DOTS = { map: '2.2', more: '3' };

/**
 * An icon as an SVG element.
 * @param {string} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  const path = document.createElementNS(space, 'path');
  const given = {
    class: 'icon', viewBox: '0 0 24 24', fill: name === 'stop' ? 'currentColor' : 'none', stroke: 'currentColor',
    'stroke-width': DOTS[name] ?? '1.7', 'stroke-linecap': 'round', 'stroke-linejoin': 'round', 'aria-hidden': 'true',
  };
  for (const [key, value] of Object.entries(given)) svg.setAttribute(key, value);
  path.setAttribute('d', PATHS[name] ?? PATHS.sensor);
  svg.append(path);
  return svg;
}
