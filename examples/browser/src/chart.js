/** Readings, what had been forecast of them a day before, and the forecast of what is to come. */

const PAST = 96;
const MARGIN = { left: 40, right: 8, top: 8, bottom: 24 };
const HOUR = 3600;

/**
 * @param {SVGSVGElement} svg
 * @param {{time: number, value: number, earlier: number}[]} rows all so far
 * @param {{mean: number[], low: number[], high: number[]} | null} forecast of the next hours
 * @param {string} unit
 */
export function draw(svg, rows, forecast, unit) {
  const { width, height } = svg.getBoundingClientRect();
  const shown = rows.slice(-PAST);
  const last = rows.length ? rows[rows.length - 1].time : 0;
  const ahead = forecast ? forecast.mean.length : 24;
  const numbers = [...shown.map((row) => row.value), ...(forecast ? [...forecast.low, ...forecast.high] : [])];
  const finite = numbers.filter(Number.isFinite);
  const low = finite.length ? 5 * Math.floor(Math.min(...finite) / 5) : 0;
  const high = finite.length ? Math.max(5 * Math.ceil(Math.max(...finite) / 5), low + 5) : 1;
  const x = (time) =>
    MARGIN.left + ((time - last) / HOUR + PAST) * ((width - MARGIN.left - MARGIN.right) / (PAST + ahead));
  const y = (value) => MARGIN.top + ((high - value) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);

  const parts = [];
  const every = high - low > 25 ? 10 : 5;
  for (let value = every * Math.ceil(low / every); value <= high; value += every) {
    parts.push(`<line class="grid" x1="${MARGIN.left}" x2="${width - MARGIN.right}" y1="${y(value)}" y2="${y(value)}" />`);
    parts.push(`<text x="${MARGIN.left - 6}" y="${y(value) + 4}" text-anchor="end">${value}</text>`);
  }
  parts.push(`<text x="${MARGIN.left + 4}" y="${MARGIN.top + 12}">${unit}</text>`);
  for (let time = last - PAST * HOUR; last && time <= last + ahead * HOUR; time += HOUR) {
    if (time % (24 * HOUR) !== 0) continue;
    parts.push(`<line class="grid" x1="${x(time)}" x2="${x(time)}" y1="${MARGIN.top}" y2="${height - MARGIN.bottom}" />`);
    if (x(time) > width - 70) continue;
    parts.push(`<text x="${x(time) + 4}" y="${height - 6}">${day(time, width)}</text>`);
  }
  if (forecast) {
    const at = (numbers, hours) => numbers.map((value, i) => `${x(last + (hours[i] + 1) * HOUR)},${y(value)}`);
    const hours = forecast.mean.map((_, i) => i);
    const edge = [...at(forecast.high, hours), ...at(forecast.low, hours).reverse()];
    parts.push(`<path class="band" d="M${edge.join("L")}Z" />`);
    parts.push(`<path class="forecast" d="M${at(forecast.mean, hours).join("L")}" />`);
  }
  const line = (name) => path(shown.map((row) => [x(row.time), y(row[name])]));
  parts.push(`<path class="earlier" d="${line("earlier")}" />`, `<path class="reading" d="${line("value")}" />`);
  svg.innerHTML = parts.join("");
}

/** With a gap where a number is missing. */
function path(points) {
  let on = false;
  return points
    .map(([x, y]) => {
      const text = Number.isFinite(y) ? `${on ? "L" : "M"}${x},${y}` : "";
      on = Number.isFinite(y);
      return text;
    })
    .join("");
}

function day(time, width) {
  const date = width > 600 ? { weekday: "short", day: "numeric", month: "short" } : { weekday: "short" };
  return new Date(1000 * time).toLocaleDateString("en-GB", { ...date, timeZone: "UTC" });
}
