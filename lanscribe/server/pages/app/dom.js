/** Makes elements without a framework. */

/**
 * An element. Of `properties`, on… are listeners, `class` and names with a dash are attributes, the
 * rest properties; undefined ones are left out. Children are nodes or text, never HTML.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class" || name === "role" || name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}
