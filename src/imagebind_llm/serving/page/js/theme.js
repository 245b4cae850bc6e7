// Light, dark, or as the system says.

import { icon } from './icons.js';
import { byId } from './dom.js';
import { change, onChange, settings } from './settings.js';

const system = matchMedia('(prefers-color-scheme: dark)');
const ICONS = { auto: 'half', light: 'sun', dark: 'moon' };

/**
 * Choose a theme, and remember it.
 * @param {'auto' | 'light' | 'dark'} theme
 */
export function setTheme(theme) {
  change({ theme });
}

/** Follow the settings and the system. */
export function startTheme() {
  const apply = () => {
    const dark = settings.theme === 'dark' || (settings.theme === 'auto' && system.matches);
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
    byId('theme').replaceChildren(icon(ICONS[settings.theme]));
  };
  system.addEventListener('change', apply);
  onChange(apply);
  byId('theme').addEventListener('click', () => {
    const order = system.matches ? ['auto', 'light', 'dark'] : ['auto', 'dark', 'light'];
    setTheme(order[(order.indexOf(settings.theme) + 1) % 3]);
  });
  apply();
}
