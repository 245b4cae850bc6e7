// What the person has chosen, remembered in this browser.

const NAME = 'imagebind-llm.settings';

/** What everything is before anybody changes it. `null` means: as the model says. */
export const DEFAULTS = Object.freeze({
  language: null,
  theme: 'auto',
  temperature: null,
  topP: null,
  maxTokens: null,
  seed: null,
  system: '',
  cache: 'auto',
  cacheK: null,
  cacheTemperature: null,
  cacheWeight: null,
  explain: true,
  tools: [],
});

/** The settings now. Change them with `change`. */
export const settings = { ...DEFAULTS, ...stored() };

const listeners = new Set();

/**
 * Change some settings and remember them.
 * @param {Partial<typeof DEFAULTS>} values
 */
export function change(values) {
  Object.assign(settings, values);
  try {
    localStorage.setItem(NAME, JSON.stringify(settings));
  } catch {
    // without storage they last as long as the page
  }
  for (const listener of listeners) listener(settings);
}

/**
 * Call `listener` after every change.
 * @param {(settings: object) => void} listener
 */
export function onChange(listener) {
  listeners.add(listener);
}

/**
 * The parts of a request's body that come from the settings.
 * @param {{cache: object | null}} model entry of /v1/models
 * @returns {Record<string, any>}
 */
export function requestOptions(model) {
  const body = {};
  if (settings.temperature !== null) body.temperature = settings.temperature;
  if (settings.topP !== null) body.top_p = settings.topP;
  if (settings.maxTokens !== null) body.max_completion_tokens = settings.maxTokens;
  if (settings.seed !== null) body.seed = settings.seed;
  if (model?.cache) {
    const cache = cacheOptions();
    if (cache) body.cache = cache;
    body.explain = settings.explain && settings.cache !== 'off';
  }
  const tools = settings.tools.filter((name) => model?.tools?.includes(name));
  if (tools.length) body.server_tools = tools;
  return body;
}

/**
 * The cache part of a request, or null where the model decides all of it.
 * @returns {Record<string, any> | null}
 */
export function cacheOptions() {
  const cache = {};
  if (settings.cache !== 'auto') cache.enabled = settings.cache === 'on';
  if (settings.cache !== 'off') {
    if (settings.cacheK !== null) cache.k = settings.cacheK;
    if (settings.cacheTemperature !== null) cache.temperature = settings.cacheTemperature;
    if (settings.cacheWeight !== null) cache.weight = settings.cacheWeight;
  }
  return Object.keys(cache).length ? cache : null;
}

function stored() {
  try {
    const found = JSON.parse(localStorage.getItem(NAME) || '{}');
    if (!Array.isArray(found.tools)) delete found.tools;
    return Object.fromEntries(Object.entries(found).filter(([name]) => name in DEFAULTS));
  } catch {
    return {};
  }
}
