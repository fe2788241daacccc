import { Card } from "./card.tsx";
import { present } from "./data.ts";
import { runs } from "./operations.ts";
import { texts } from "./texts.ts";

const words = texts.runs;

/** The latest runs of the scheduled tasks. */
export function Runs({ first }: { first: number }) {
  return (
    <Card
      title={words.title}
      explanation={words.explanation}
      operation={runs}
      variables={{ first }}
      everyMs={10_000}
      rows={({ monitorRuns }) => present(monitorRuns?.nodes)}
      columns={({ count, span, text, time }) => [
        time(words.at, ({ startedAt }) => startedAt),
        text(words.task, ({ task }) => task),
        {
          head: words.outcome,
          value: ({ outcome }) => outcome,
          show: ({ outcome, error }) => (
            <span class={outcome === "ok" ? "good" : outcome === "failed" ? "bad" : ""}>
              {outcome} {error}
            </span>
          ),
        },
        count(words.rows, ({ rowCount }) => rowCount),
        span(words.took, ({ duration }) => duration),
      ]}
    />
  );
}
