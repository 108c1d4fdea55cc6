// Makes one tree like another by changing only what differs.

const keyOf = node => node.nodeType === 1 ? node.id || node.dataset?.key || '' : '';
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

/** Makes `old` (with its children) like `fresh`. What has `data-keep` looks after itself. */
export function morph(old, fresh) {
  if (old.nodeType !== 1) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.hasAttribute('data-keep')) {
    // The same thing is kept as it is; another thing takes its place whole, unless somebody is reading.
    if (old.dataset.keep !== fresh.dataset.keep && !old.hasAttribute('data-hold')) old.replaceWith(document.importNode(fresh, true));
    return;
  }
  attributes(old, fresh);
  if (old.matches('input, textarea, select') && old === document.activeElement) return;
  children(old, fresh);
}

function attributes(old, fresh) {
  for (const {name, value} of [...fresh.attributes]) {
    if (old.nodeName === 'DETAILS' && name === 'open') continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const {name} of [...old.attributes]) {
    if (old.nodeName === 'DETAILS' && name === 'open') continue;
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
}

function children(old, fresh) {
  const keyed = new Map();
  for (const child of old.childNodes) if (keyOf(child)) keyed.set(keyOf(child), child);
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = keyOf(wanted), match = key ? keyed.get(key) : at && alike(at, wanted) ? at : null;
    if (match && match.nodeName === wanted.nodeName) {
      if (match === at) at = at.nextSibling;
      else old.insertBefore(match, at);
      keyed.delete(key);
      morph(match, wanted);
    } else old.insertBefore(document.importNode(wanted, true), at);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
