// Where the figures of an answer come from: each is looked for in the lines of the tools' results.

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/** Dates, times, sums of money, codes with digits, numbers. */
const FIGURE = new RegExp(
  [
    `\\b\\d{1,2} (?:${MONTHS.join("|")})[a-z]* \\d{4}\\b`,
    "\\b\\d{4}-\\d{2}-\\d{2}\\b",
    "\\b\\d{1,2}:\\d{2}\\b",
    "[€$£]\\s?\\d+(?:,\\d{3})*(?:\\.\\d+)?",
    "\\b[A-Z]{1,4}\\d[A-Z0-9]*\\b",
    "\\b\\d+(?:,\\d{3})*(?:\\.\\d+)?",
  ].join("|"),
  "gi",
);
/** A small number says nothing alone: the words around it have to agree. */
const TELLING = /[€$£:-]|[a-z]|\d{3}/i;

function key(figure) {
  const date = /^(\d{1,2}) ([a-z]{3})[a-z]* (\d{4})$/i.exec(figure);
  if (date) {
    const month = MONTHS.indexOf(date[2].toLowerCase()) + 1;
    return `${date[3]}-${String(month).padStart(2, "0")}-${date[1].padStart(2, "0")}`;
  }
  return figure.toLowerCase().replace(/[\s,]/g, "").replace(/\.00$/, "");
}

function figures(line) {
  return [...line.matchAll(FIGURE)].map((match) => ({ text: match[0], at: match.index, key: key(match[0]) }));
}

function words(line) {
  return new Set(line.toLowerCase().match(/\p{L}{3,}/gu) ?? []);
}

/** The lines of a finding's text. */
export function lines(text) {
  return text.split("\n");
}

/** The results of an answer, ready to be searched: those of tools alone, for what a model wrote is no source. */
function index(answer) {
  const needed = new Set(answer.plan.nodes.flatMap((node) => node.needs));
  return Object.entries(answer.results)
    .filter(([, finding]) => finding.call)
    .map(([node, finding]) => ({
      node,
      inner: needed.has(node),
      data: JSON.stringify(finding.data ?? null).toLowerCase(),
      lines: lines(finding.text ?? "").map((text, number) => ({
        number,
        keys: new Set(figures(text).map((figure) => figure.key)),
        words: words(text),
      })),
    }));
}

/** The best source of one figure among these results: the line that shares most words with the answer's. */
function search(results, figure, around) {
  let best = null;
  for (const result of results) {
    for (const line of result.lines) {
      if (!line.keys.has(figure.key)) continue;
      const shared = [...around].filter((word) => line.words.has(word)).length;
      if (!shared && !TELLING.test(figure.text)) continue;
      if (!best || shared > best.shared) best = { node: result.node, line: line.number, shared };
    }
  }
  if (best || !TELLING.test(figure.text)) return best;
  const whole = results.find((result) => result.data.includes(figure.key.replace(/^[€$£]/, "")));
  return whole ? { node: whole.node, line: null } : null;
}

/**
 * The answer's text as lines of parts: `{text}`, or for a figure `{text, source}` with `{node, line}`, null if no tool
 * returned it. What a specialist wrote of others' findings leads to those.
 */
export function sourced(answer) {
  const results = index(answer);
  const inner = results.filter((result) => result.inner);
  const last = results.filter((result) => !result.inner);
  return lines(answer.text).map((line) => {
    const around = words(line);
    const parts = [];
    let at = 0;
    for (const figure of figures(line)) {
      const source = search(inner, figure, around) ?? search(last, figure, around);
      if (!source && !TELLING.test(figure.text)) continue;
      parts.push({ text: line.slice(at, figure.at) }, { text: figure.text, source });
      at = figure.at + figure.text.length;
    }
    parts.push({ text: line.slice(at) });
    return parts.filter((part) => part.text);
  });
}
