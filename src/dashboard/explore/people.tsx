import { Card } from "../card.tsx";
import { columns, groups, heat, lines } from "../chart.tsx";
import { present } from "../data.ts";
import * as format from "../format.ts";
import { funnel, lifecycle, retention, retentionByValue, stickiness } from "../operations.ts";
import { zone } from "../settings.ts";
import { texts } from "../texts.ts";
import { bucketLabel, distinct, groupBy, type ViewProps, valueName } from "./view.ts";

const words = texts.explore;

/** A view of the period, and of the one before it when they are compared. */
function inPeriods(
  { settings, period }: ViewProps,
  show: (since: string, until: string | undefined, suffix: string) => preact.JSX.Element,
) {
  return (
    <>
      {show(period.since, period.until, "")}
      {settings["compare"] === "1" && show(period.formerSince, period.formerUntil, words.before)}
    </>
  );
}

/** How many people go how far through some events. */
export function Funnel(props: ViewProps) {
  const { settings } = props;
  const given = Array.from({ length: 10 }, (_, index) => settings[`step${index + 1}`]).filter(
    (step) => step !== undefined,
  );
  if (given.length < 2) return <p class="note">{words.funnel.lead}</p>;
  const { breakdown } = settings;
  const stepOf = ({ step, event }: { step: number | null; event: string | null }): string =>
    [step, event].filter(Boolean).join(" ");
  return inPeriods(props, (since, until, suffix) => (
    <Card
      title={words.funnel.title + suffix}
      explanation={words.funnel.explanation}
      isWide
      operation={funnel}
      variables={{
        steps: given.map((event) => ({ event })),
        since,
        until,
        stepOrder: settings["order"],
        conversionWindow: { days: Number(settings["within"] ?? 14) },
        item: settings["item"],
        among: settings["among"],
        breakdown,
      }}
      rows={({ analyticsFunnel }) => present(analyticsFunnel?.nodes)}
      note={(rows) =>
        breakdown === undefined ? words.funnel.all(format.share(rows.at(-1)?.share)) : words.funnel.byValue
      }
      columns={({ count, rate, span, text }) => [
        text(words.funnel.step, stepOf),
        ...(breakdown === undefined ? [] : [text(words.trends.value, valueName)]),
        count(words.people, ({ personCount }) => personCount),
        rate(words.funnel.share, ({ share }) => share),
        rate(words.funnel.stepShare, ({ stepShare }) => stepShare),
        count(words.funnel.dropped, ({ droppedCount }) => droppedCount),
        count(words.funnel.open, ({ openCount }) => openCount),
        span(words.funnel.time, ({ medianTime }) => medianTime),
      ]}
      chart={(rows) => {
        const steps = distinct(rows.map(stepOf));
        return groups(
          steps,
          groupBy(rows, valueName).map(([value, points]) => ({
            name: breakdown === undefined ? words.people : value,
            values: steps.map((step) => Number(points.find((point) => stepOf(point) === step)?.personCount ?? 0)),
          })),
        );
      }}
    />
  ));
}

/** How many people come back. */
export function Retention(props: ViewProps) {
  const { settings } = props;
  const { event, returnEvent, item, among, breakdown, firstTime } = settings;
  const bucket = settings["bucket"] ?? "week";
  const variables = {
    eventName: event,
    returnEvent,
    bucket,
    zone,
    item,
    among,
    ...(firstTime ? { firstTime: true } : {}),
  };
  const name = words.choices[bucket] ?? bucket;
  if (breakdown !== undefined) {
    return inPeriods(props, (since, until, suffix) => (
      <Card
        title={words.retention.byValue + suffix}
        explanation={words.retention.explanation}
        isWide
        operation={retentionByValue}
        variables={{ ...variables, since, until, breakdown }}
        rows={({ analyticsRetention }) =>
          present(analyticsRetention?.nodes).filter(({ cohortStart }) => cohortStart === null)
        }
        columns={({ count, rate, text }) => [
          text(words.trends.value, valueName),
          count(name, ({ period }) => period),
          count(words.retention.size, ({ cohortSize }) => cohortSize),
          count(words.people, ({ personCount }) => personCount),
          rate(words.retention.share, ({ share }) => share),
        ]}
        chart={(rows) => {
          const periods = distinct(rows.map(({ period }) => period));
          return lines(
            periods.map((period) => `${name} ${period}`),
            groupBy(rows, valueName).map(([value, points]) => ({
              name: value,
              values: periods.map((period) => points.find((point) => point.period === period)?.share ?? null),
            })),
          );
        }}
      />
    ));
  }
  const cohortOf = ({ cohortStart, cohortSize }: { cohortStart: string | null; cohortSize: string | null }): string =>
    cohortStart === null ? words.retention.mean : `${bucketLabel(bucket, cohortStart)} (${format.figure(cohortSize)})`;
  return inPeriods(props, (since, until, suffix) => (
    <Card
      title={words.retention.title + suffix}
      explanation={words.retention.explanation}
      isWide
      operation={retention}
      variables={{ ...variables, since, until }}
      rows={({ analyticsRetention }) => present(analyticsRetention?.nodes)}
      columns={({ count, rate, text }) => [
        text(words.retention.cohort, cohortOf),
        count(name, ({ period }) => period),
        count(words.people, ({ personCount }) => personCount),
        rate(words.retention.share, ({ share }) => share),
        {
          head: words.complete,
          value: ({ isComplete }) => (isComplete === false ? words.notYet : ""),
        },
      ]}
      chart={(rows) => {
        const periods = distinct(rows.map(({ period }) => period)).toSorted(
          (one, other) => Number(one) - Number(other),
        );
        const cohorts = groupBy(
          rows.filter(({ cohortSize }) => Number(cohortSize) > 0),
          cohortOf,
        );
        return heat(
          periods.map((period) => `${name} ${period}`),
          cohorts.map(([cohort]) => cohort),
          cohorts.map(([, cells]) =>
            periods.map((period) => cells.find((cell) => cell.period === period)?.share ?? null),
          ),
          words.retention.share,
        );
      }}
    />
  ));
}

/** Active people by whether they were active before. */
export function Lifecycle(props: ViewProps) {
  const { event, item, among, bucket = "week" } = props.settings;
  const of = words.lifecycle;
  return inPeriods(props, (since, until, suffix) => (
    <Card
      title={of.title + suffix}
      explanation={of.explanation}
      isWide
      operation={lifecycle}
      variables={{ eventName: event, bucket, since, until, zone, item, among }}
      rows={({ analyticsLifecycle }) => present(analyticsLifecycle?.nodes)}
      columns={({ count, text }) => [
        text(words.trends.time, ({ bucketStart }) => bucketLabel(bucket, bucketStart)),
        count(of.new, ({ newPeople }) => newPeople),
        count(of.returning, ({ returningPeople }) => returningPeople),
        count(of.resurrecting, ({ resurrectingPeople }) => resurrectingPeople),
        count(of.dormant, ({ dormantPeople }) => dormantPeople),
        { head: words.complete, value: ({ isComplete }) => (isComplete === false ? words.notYet : "") },
      ]}
      chart={(rows) =>
        groups(
          rows.map(({ bucketStart }) => bucketLabel(bucket, bucketStart)),
          [
            { name: of.returning, values: rows.map(({ returningPeople }) => Number(returningPeople ?? 0)) },
            { name: of.resurrecting, values: rows.map(({ resurrectingPeople }) => Number(resurrectingPeople ?? 0)) },
            { name: of.new, values: rows.map(({ newPeople }) => Number(newPeople ?? 0)) },
            { name: of.dormant, values: rows.map(({ dormantPeople }) => -Number(dormantPeople ?? 0)) },
          ],
          { isStacked: true },
        )
      }
    />
  ));
}

/** On how many days, weeks or months of the period people are active. */
export function Stickiness(props: ViewProps) {
  const { event, item, among, breakdown, bucket = "day", orMore } = props.settings;
  const of = words.stickiness;
  const label = ({ bucketCount }: { bucketCount: number | null }): string => String(bucketCount);
  return inPeriods(props, (since, until, suffix) => (
    <Card
      title={of.title(words.choices[bucket] ?? bucket) + suffix}
      explanation={of.explanation}
      isWide
      operation={stickiness}
      variables={{
        eventName: event,
        bucket,
        since,
        until,
        zone,
        item,
        among,
        breakdown,
        ...(orMore ? { orMore: true } : {}),
      }}
      rows={({ analyticsStickiness }) => present(analyticsStickiness?.nodes)}
      columns={({ count, rate, text }) => [
        count(of.buckets, ({ bucketCount }) => bucketCount),
        ...(breakdown === undefined ? [] : [text(words.trends.value, valueName)]),
        count(words.people, ({ personCount }) => personCount),
        rate(of.share, ({ share }) => share),
      ]}
      chart={(rows) => {
        if (breakdown === undefined) {
          return columns(
            rows.map(label),
            words.people,
            rows.map(({ personCount }) => Number(personCount ?? 0)),
          );
        }
        const labels = distinct(rows.map(label));
        return groups(
          labels,
          groupBy(rows, valueName).map(([value, points]) => ({
            name: value,
            values: labels.map((number) => Number(points.find((point) => label(point) === number)?.personCount ?? 0)),
          })),
        );
      }}
    />
  ));
}
