// Draws the units sold on one shelf over time, against the units in stock.

import { svg } from "./dom.js";

const WIDTH = 480, HEIGHT = 240, LEFT = 44, RIGHT = 8, TOP = 10, BOTTOM = 26;

/**
 * @param chart the element to draw into
 * @param points [{ at, sold, stock, refused }], times in seconds since the sale began
 * @param pauses [[from, to]], in the same seconds
 * @param most { seconds, units }: the end of both axes, the same for both shelves
 */
export function draw(chart, points, pauses, most) {
  const x = (seconds) => LEFT + (WIDTH - LEFT - RIGHT) * seconds / most.seconds;
  const y = (units) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * units / most.units;
  const parts = [];
  for (const [from, to] of pauses) {
    parts.push(svg("rect", { class: "pause", x: x(from), width: Math.max(x(to) - x(from), 2), y: TOP, height: HEIGHT - TOP - BOTTOM }));
  }
  const area = (top, floor) => [...points.map((point) => [x(point.at), y(top(point))]),
    ...points.toReversed().map((point) => [x(point.at), y(floor(point))])].map(([across, down]) => `${across.toFixed(1)},${down.toFixed(1)}`).join(" ");
  if (points.length > 0) {
    parts.push(svg("polygon", { class: "sold", points: area((point) => Math.min(point.sold, point.stock), () => 0) }));
    parts.push(svg("polygon", { class: "over", points: area((point) => Math.max(point.sold, point.stock), (point) => point.stock) }));
    const line = points.map((point) => `${x(point.at).toFixed(1)},${y(point.sold).toFixed(1)}`).join(" ");
    parts.push(svg("polyline", { class: "line", points: line }));
    const stock = points.at(-1).stock;
    parts.push(svg("line", { class: "stock", x1: LEFT, x2: WIDTH - RIGHT, y1: y(stock), y2: y(stock) }));
  }
  points.forEach((point, index) => {
    if (index === 0 || point.refused <= points[index - 1].refused) return;
    const [across, down] = [x(point.at), y(point.sold)];
    parts.push(svg("path", { class: "refused", d: `M${across},${down - 8}l7,8l-7,8l-7,-8z` }));
  });
  parts.push(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(0), y2: y(0) }));
  const label = (text, across, down, anchor) => {
    const node = svg("text", { x: across, y: down, "text-anchor": anchor });
    node.textContent = text;
    parts.push(node);
  };
  for (const units of [0, most.units / 2, most.units]) label(Math.round(units), LEFT - 6, y(units) + 5, "end");
  for (const seconds of [0, most.seconds / 2, most.seconds]) {
    label(`${seconds.toFixed(seconds < 10 && seconds % 1 ? 1 : 0)} s`, x(seconds), HEIGHT - 8, seconds === 0 ? "start" : seconds === most.seconds ? "end" : "middle");
  }
  chart.replaceChildren(...parts);
}
