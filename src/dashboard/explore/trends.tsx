import { useState } from "preact/hooks";
import { ActionCard } from "../action.tsx";
import { Card } from "../card.tsx";
import { cut, lines, marksOf, notesOf } from "../chart.tsx";
import { present, send } from "../data.ts";
import { Choice, Field } from "../form.tsx";
import { annotate, trend, trendCompared } from "../operations.ts";
import { dateOf, zone } from "../settings.ts";
import { texts } from "../texts.ts";
import { bucketLabel, distinct, groupBy, type ViewProps, valueName } from "./view.ts";

const words = texts.explore.trends;

interface Figures {
  eventCount: string | null;
  personCount: string | null;
  eventsPerPerson?: number | null;
}

/** The figure of a row that the chart shows. */
function measured(row: Figures | undefined, measure: string | undefined): number | null {
  if (row === undefined) return null;
  if (measure === "people") return Number(row.personCount ?? 0);
  if (measure === "perPerson") return row.eventsPerPerson ?? null;
  return Number(row.eventCount ?? 0);
}

const measureName = (measure: string | undefined): string =>
  measure === "people" ? words.people : measure === "perPerson" ? words.perPerson : words.events;

/** Notes the title of what has happened on a day; all who read trends see it. */
function Annotate({ onDone }: { onDone: () => void }) {
  return (
    <ActionCard
      title={words.annotate}
      isFolded
      actions={[
        {
          label: words.save,
          async run({ day, title = "", kind = "" }) {
            await send(annotate, { input: { title, kind, startsAt: new Date(`${day}T00:00`).toISOString() } });
            onDone();
            return words.noted;
          },
        },
      ]}
    >
      <Field label={texts.day} name="day" type="date" value={dateOf(new Date())} isRequired />
      <Field label={words.title} name="title" isRequired />
      <Choice label={words.kind} name="kind" choices={words.kinds} />
    </ActionCard>
  );
}

/** The first row of each bucket, in their order: all rows of a bucket have the same notes. */
const bucketsOf = <Row extends { bucketStart: string | null }>(rows: readonly Row[]): Row[] =>
  groupBy(rows, ({ bucketStart }) => bucketStart ?? "").flatMap(([, [first]]) => first ?? []);

/** How often something happens, over time. */
export function Trends({ settings, period }: ViewProps) {
  const [turn, setTurn] = useState(0);
  const { event, item, among, breakdown, bucket, measure, compare } = settings;
  const { since, until, formerSince, formerUntil } = period;
  const variables = { eventName: event, item, bucket: bucket ?? "day", since, until, zone, among };
  const name = measureName(measure);
  const shared = {
    title: event ?? words.name,
    explanation: words.explanation,
    isWide: true,
    drawnBy: measure ?? "",
  };
  const label = ({ bucketStart }: { bucketStart: string | null }): string => bucketLabel(bucket, bucketStart);
  return (
    <>
      {breakdown !== undefined ? (
        <Card
          key={`breakdown ${turn}`}
          {...shared}
          explanation={`${words.explanation} ${words.ofUtc}`}
          operation={trend}
          variables={{ ...variables, zone: undefined, breakdown }}
          rows={({ analyticsTrend }) => present(analyticsTrend?.nodes)}
          note={(rows) => notesOf(bucketsOf(rows))}
          columns={({ count, text }) => [
            text(words.time, label),
            text(words.value, valueName),
            count(words.events, ({ eventCount }) => eventCount),
            count(words.people, ({ personCount }) => personCount),
            count(words.perPerson, ({ eventsPerPerson }) => eventsPerPerson),
            text(words.notes, ({ annotations }) => present(annotations).join("; ")),
          ]}
          chart={(rows) => {
            const starts = distinct(rows.map(({ bucketStart }) => bucketStart));
            const open = rows.find(({ isComplete }) => isComplete === false);
            const cutFrom = open === undefined ? starts.length : starts.indexOf(open.bucketStart);
            return lines(
              starts.map((start) => bucketLabel(bucket, start)),
              groupBy(rows, valueName).map(([value, points]) => ({
                name: value,
                values: starts.map((start) =>
                  measured(
                    points.find(({ bucketStart }) => bucketStart === start),
                    measure,
                  ),
                ),
                cutFrom,
              })),
              marksOf(bucketsOf(rows)),
            );
          }}
        />
      ) : compare === "1" ? (
        <Card
          key={`compared ${turn}`}
          {...shared}
          operation={trendCompared}
          variables={{ ...variables, formerSince, formerUntil }}
          rows={({ analyticsTrend, former }) => {
            const before = present(former?.nodes);
            return present(analyticsTrend?.nodes).map((row, index) => ({ ...row, former: before[index] }));
          }}
          note={notesOf}
          columns={({ count, text }) => [
            text(words.time, label),
            count(words.events, ({ eventCount }) => eventCount),
            count(words.people, ({ personCount }) => personCount),
            text(words.formerTime, ({ former }) => former && label(former)),
            count(words.formerEvents, ({ former }) => former?.eventCount),
            count(words.formerPeople, ({ former }) => former?.personCount),
            text(words.notes, ({ annotations }) => present(annotations).join("; ")),
          ]}
          chart={(rows) =>
            lines(
              rows.map(label),
              [
                { name, values: rows.map((row) => measured(row, measure)), cutFrom: cut(rows), hasArea: true },
                { name: words.former, values: rows.map(({ former }) => measured(former, measure)), isDashed: true },
              ],
              marksOf(rows),
            )
          }
        />
      ) : (
        <Card
          key={`plain ${turn}`}
          {...shared}
          operation={trend}
          variables={variables}
          rows={({ analyticsTrend }) => present(analyticsTrend?.nodes)}
          note={notesOf}
          columns={({ count, text }) => [
            text(words.time, label),
            count(words.events, ({ eventCount }) => eventCount),
            count(words.people, ({ personCount }) => personCount),
            count(words.perPerson, ({ eventsPerPerson }) => eventsPerPerson),
            count(words.average, ({ runningAverage }) => runningAverage),
            text(words.notes, ({ annotations }) => present(annotations).join("; ")),
          ]}
          chart={(rows) =>
            lines(
              rows.map(label),
              [
                { name, values: rows.map((row) => measured(row, measure)), cutFrom: cut(rows), hasArea: true },
                ...(measure === undefined || measure === "events"
                  ? [{ name: words.average, values: rows.map(({ runningAverage }) => runningAverage), isDashed: true }]
                  : []),
              ],
              marksOf(rows),
            )
          }
        />
      )}
      <Annotate onDone={() => setTurn((turn) => turn + 1)} />
    </>
  );
}
