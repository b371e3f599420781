// Elements of the page, made from text: nothing that a server sends is ever parsed as markup.

export const at = (id) => document.getElementById(id);

/** `make("p.note", "text", child)`: an element with classes and children. */
export function make(name, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag);
  if (classes.length > 0) node.className = classes.join(" ");
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export function svg(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Sends an action; returns why it was refused, or an empty text. */
export async function send(action) {
  try {
    const headers = { "content-type": "application/json" };
    const answer = await fetch("v1/actions", { method: "POST", headers, body: JSON.stringify(action) });
    return answer.ok ? "" : (await answer.json()).detail;
  } catch (error) {
    return `The server does not answer: ${error.message}`;
  }
}
