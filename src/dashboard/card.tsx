import type { ComponentChildren } from "preact";
import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { Chart, type ChartOption } from "./chart.tsx";
import { type Loaded, useLoaded } from "./data.ts";
import { day, duration, figure, type Interval, inSeconds, metric, moment, share } from "./format.ts";
import type { TypedDocument } from "./operations.ts";
import { usePinned } from "./settings.ts";
import { queryInSql } from "./sql.ts";
import { texts } from "./texts.ts";
import { useTurn } from "./turn.ts";

export interface Column<Row> {
  head: string;
  /** The value as it is in the CSV. */
  value(row: Row): string | number | null | undefined;
  /** Its form in the table; default: the value. */
  show?(row: Row): ComponentChildren;
  isFigure?: boolean;
}

/** Columns by what they contain. */
interface Columns<Row> {
  text(head: string, value: (row: Row) => string | number | null | undefined): Column<Row>;
  /** Counts and other figures. */
  count(head: string, value: (row: Row) => string | number | null | undefined): Column<Row>;
  /** Metrics of models, to four digits. */
  metric(head: string, value: (row: Row) => number | null | undefined): Column<Row>;
  /** Shares from 0 to 1. */
  rate(head: string, value: (row: Row) => number | null | undefined): Column<Row>;
  /** Lengths of time, in the CSV in seconds. */
  span(head: string, value: (row: Row) => Interval | null | undefined): Column<Row>;
  /** Points in time. */
  time(head: string, value: (row: Row) => string | null | undefined): Column<Row>;
  day(head: string, value: (row: Row) => string | null | undefined): Column<Row>;
}

const columnsOf = <Row,>(): Columns<Row> => ({
  text: (head, value) => ({ head, value }),
  count: (head, value) => ({ head, value, show: (row) => figure(value(row)), isFigure: true }),
  metric: (head, value) => ({ head, value, show: (row) => metric(value(row)), isFigure: true }),
  rate: (head, value) => ({ head, value, show: (row) => share(value(row)), isFigure: true }),
  span: (head, value) => ({
    head,
    value(row) {
      const interval = value(row);
      return interval && inSeconds(interval);
    },
    show: (row) => duration(value(row)),
    isFigure: true,
  }),
  time: (head, value) => ({ head, value, show: (row) => <span class="time">{moment(value(row))}</span> }),
  day: (head, value) => ({ head, value, show: (row) => <span class="time">{day(value(row))}</span> }),
});

interface Props<Result, Variables, Row> {
  title: string;
  /** Definition of the figures, who is counted, and the time until which they are complete. */
  explanation: string;
  operation: TypedDocument<Result, Variables>;
  variables: Variables;
  /** The answer, where the page has requested it already. */
  loaded?: Loaded<Result>;
  rows(result: Result): Row[];
  columns(of: Columns<Row>): Column<Row>[];
  chart?: (rows: Row[]) => ChartOption;
  isWide?: boolean;
  isTall?: boolean;
  /** A strip of a chart. */
  isLow?: boolean;
  /** Repeats the request while the page is visible. */
  everyMs?: number;
  /** Shown above the figures, such as a form. */
  controls?: ComponentChildren;
  /** Shown below the figures, such as links to other pages of them. */
  foot?: (rows: Row[]) => ComponentChildren;
  /** Shown below the figures. */
  note?: (rows: Row[]) => string;
  /** Whether the note is a warning. */
  isAlarming?: (rows: Row[]) => boolean;
  /** A setting of the chart that does not change the rows. */
  drawnBy?: string;
  /** Shown when there are no rows. */
  empty?: string;
}

type View = "chart" | "table" | "graphql" | "sql";

/** RFC 4180; a text that a spreadsheet would execute as a formula gets an apostrophe. */
function csv<Row>(columns: Column<Row>[], rows: Row[]): string {
  const cell = (value: string | number | null | undefined): string => {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? "");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns.map(({ head }) => cell(head)), ...rows.map((row) => columns.map(({ value }) => cell(value(row))))]
    .map((cells) => `${cells.join(",")}\r\n`)
    .join("");
}

/** Offers a text as a file to be saved. */
export function saveAs(name: string, text: string, type: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

export function Table<Row>({ columns, rows, caption }: { columns: Column<Row>[]; rows: Row[]; caption: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard.
    <section class="scroll" tabIndex={0} aria-label={texts.card.tableOf(caption)}>
      <table>
        <caption class="visually-hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ head, isFigure }) => (
              <th scope="col" key={head} class={isFigure ? "figure" : ""}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: the rows have their order from the database.
            <tr key={index}>
              {columns.map(({ head, value, show, isFigure }) => (
                <td key={head} class={isFigure ? "figure" : ""}>
                  {show ? show(row) : (value(row) ?? "")}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** A figure with its chart, its table, its queries, and its states: loading, empty, failed. */
export function Card<Result, Variables, Row>(props: Props<Result, Variables, Row>) {
  const { title, explanation, operation, variables, chart, drawnBy, isWide, isTall, isLow, everyMs, empty, note } =
    props;
  const chosen = usePinned()?.card;
  // A board may show another card of the page alone.
  const isHidden = chosen !== undefined && chosen !== operation.name;
  const place = useRef<HTMLElement>(null);
  const [hasAnswer, setAnswer] = useState(isHidden);
  const isDue = useTurn(place, hasAnswer);
  const own = useLoaded(operation, variables, { everyMs, isOff: isHidden || !isDue || props.loaded !== undefined });
  const { result, error, isLoading, reload } = props.loaded ?? own;
  const isAnswered = result !== undefined || error !== undefined;
  useEffect(() => setAnswer(isAnswered || isHidden), [isAnswered, isHidden]);
  const [view, setView] = useState<View>(chart ? "chart" : "table");
  const [isExplained, setExplained] = useState(false);
  const heading = useId();
  const explained = useId();
  // biome-ignore lint/correctness/useExhaustiveDependencies: the rows are those of the result.
  const rows = useMemo(() => (result === undefined ? [] : props.rows(result)), [result]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the option is that of the rows.
  const option = useMemo(() => (chart && rows.length > 0 ? chart(rows) : undefined), [rows, drawnBy]);
  // What the server refuses is answered by its message, in place of figures that other settings had.
  const isShown = result !== undefined && !error?.code.startsWith("CF");
  const columns = props.columns(columnsOf<Row>());
  const views: View[] = chart ? ["chart", "table", "graphql", "sql"] : ["table", "graphql", "sql"];

  const content = (): ComponentChildren => {
    if (view === "graphql") return <Code text={`${operation.text}\n\n${JSON.stringify(variables, null, 2)}`} />;
    if (view === "sql") return <Code text={queryInSql(operation, variables as object)} />;
    if (error !== undefined && !isShown) {
      return (
        <div role="alert">
          <p class="note bad">
            {error.message}. {error.hint}
          </p>
          <button type="button" class="quiet" onClick={reload}>
            {texts.card.again}
          </button>
        </div>
      );
    }
    if (result === undefined) return <div class="skeleton" role="status" aria-label={texts.card.loading} />;
    if (rows.length === 0) return <p class="note">{empty ?? texts.card.empty}</p>;
    if (view === "chart" && option) return <Chart option={option} description={title} />;
    return <Table columns={columns} rows={rows} caption={title} />;
  };

  if (isHidden) return null;
  return (
    <section
      class={`card${isWide ? " wide" : ""}${isTall ? " tall" : ""}${isLow ? " low" : ""}`}
      ref={place}
      data-card={operation.name}
      aria-labelledby={heading}
      aria-busy={isLoading}
    >
      <header>
        <h2 id={heading}>{title}</h2>
        <div class="tabs">
          {views.map((name) => (
            <button type="button" key={name} aria-pressed={view === name} onClick={() => setView(name)}>
              {texts.card.views[name]}
            </button>
          ))}
          <button
            type="button"
            disabled={rows.length === 0}
            onClick={() => saveAs(`${operation.name}.csv`, csv(columns, rows), "text/csv")}
          >
            {texts.card.csv}
          </button>
          <button
            type="button"
            aria-expanded={isExplained}
            aria-controls={explained}
            aria-label={texts.card.explain(title)}
            onClick={() => setExplained(!isExplained)}
          >
            ?
          </button>
        </div>
      </header>
      <p id={explained} class="note" hidden={!isExplained}>
        {explanation}
      </p>
      {error !== undefined && isShown && (
        <p class="note bad" role="status">
          {texts.card.stale} {error.message}.
        </p>
      )}
      {props.controls}
      {content()}
      {isShown && props.foot?.(rows)}
      {note && isShown && rows.length > 0 && <p class={props.isAlarming?.(rows) ? "note bad" : "note"}>{note(rows)}</p>}
    </section>
  );
}

export function Code({ text }: { text: string }) {
  const [isCopied, setCopied] = useState(false);
  return (
    <div class="code">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard. */}
      <pre tabIndex={0}>{text}</pre>
      <button
        type="button"
        class="quiet"
        onClick={() => void navigator.clipboard.writeText(text).then(() => setCopied(true))}
      >
        {isCopied ? texts.card.copied : texts.card.copy}
      </button>
    </div>
  );
}
