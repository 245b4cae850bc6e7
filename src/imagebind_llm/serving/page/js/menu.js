// Small menus that open at a button. Esc, Tab and a click elsewhere close them.

import { el } from './dom.js';

/**
 * Open a menu.
 * @param {HTMLElement} at the button it belongs to
 * @param {({t?: string, text?: string, note?: string, icon?: string, bad?: boolean, act: () => void} | null)[]} entries null is a line
 */
export function openMenu(at, entries) {
  const menu = el('div', { class: 'menu', role: 'menu', popover: 'auto' });
  for (const entry of entries) {
    if (!entry) {
      menu.append(el('hr'));
      continue;
    }
    const words = el('span', {}, el('span', entry.t ? { t: entry.t } : { text: entry.text }), entry.note ? el('small', { t: entry.note }) : null);
    const choose = () => {
      menu.hidePopover();
      entry.act();
    };
    menu.append(el('button', { role: 'menuitem', class: entry.bad ? 'bad' : '', icon: entry.icon, on: { click: choose } }, words));
  }
  const choices = [...menu.querySelectorAll('button')];
  menu.addEventListener('keydown', (event) => {
    const now = choices.indexOf(document.activeElement);
    const next = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: choices.length - 1 }[event.key];
    if (event.key === 'Tab') menu.hidePopover();
    if (next === undefined) return;
    event.preventDefault();
    choices[(next + choices.length) % choices.length].focus();
  });
  menu.addEventListener('toggle', (event) => {
    at.setAttribute('aria-expanded', String(event.newState === 'open'));
    if (event.newState === 'closed') {
      if (menu.contains(document.activeElement) || document.activeElement === document.body) at.focus({ preventScroll: true });
      setTimeout(() => menu.remove());
    }
  });
  document.body.append(menu);
  menu.showPopover();
  place(menu, at.getBoundingClientRect());
  choices[0]?.focus();
}

function place(menu, at) {
  const { offsetWidth: width, offsetHeight: height } = menu;
  const left = Math.max(8, Math.min(at.left, innerWidth - width - 8));
  const below = at.bottom + 6 + height < innerHeight;
  menu.style.setProperty('left', `${left}px`);
  menu.style.setProperty('top', `${below ? at.bottom + 6 : Math.max(8, at.top - height - 6)}px`);
}
