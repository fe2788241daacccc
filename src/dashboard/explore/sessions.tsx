import { Card } from "../card.tsx";
import { bars, columns, cut, flows, lines } from "../chart.tsx";
import { present } from "../data.ts";
import * as format from "../format.ts";
import { cohorts, paths, segments, sessionDistribution, sessionItems, sessionTrend, timeline } from "../operations.ts";
import { zone } from "../settings.ts";
import { texts } from "../texts.ts";
import { bucketLabel, distinct, groupBy, type ViewProps, valueName } from "./view.ts";

const words = texts.explore;

/** What people do after what. */
export function Paths({ settings, period, titleOf }: ViewProps) {
  const { nodes, startAt, endAt, steps = "4", among, breakdown, compare } = settings;
  const of = words.paths;
  // With a breakdown, the flows of each value are beside each other.
  const place = (row: { breakdownValue: string | null; isOther: boolean | null }, item: string | null): string =>
    (breakdown === undefined ? "" : `${valueName(row)}: `) + titleOf(item ?? "");
  const show = (since: string, until: string | undefined, suffix: string) => (
    <Card
      title={of.title + suffix}
      explanation={of.explanation}
      isWide
      isTall
      operation={paths}
      variables={{
        since,
        until,
        nodes,
        startAt,
        endAt,
        steps: Number(steps) || 4,
        among,
        breakdown,
        top: breakdown === undefined ? 40 : 12,
      }}
      rows={({ analyticsPaths }) => present(analyticsPaths?.nodes)}
      columns={({ count, rate, span, text }) => [
        ...(breakdown === undefined ? [] : [text(words.trends.value, valueName)]),
        count(of.step, ({ step }) => step),
        text(of.source, ({ source }) => titleOf(source ?? "")),
        text(of.target, ({ target }) => titleOf(target ?? "")),
        count(of.transitions, ({ transitionCount }) => transitionCount),
        count(words.people, ({ personCount }) => personCount),
        rate(of.share, ({ share }) => share),
        span(of.time, ({ meanTime }) => meanTime),
      ]}
      chart={(rows) =>
        flows(
          rows.map((row) => ({
            step: row.step ?? 1,
            source: place(row, row.source),
            target: place(row, row.target),
            value: Number(row.transitionCount ?? 0),
          })),
          of.transitions,
        )
      }
    />
  );
  return (
    <>
      {show(period.since, period.until, "")}
      {compare === "1" && show(period.formerSince, period.formerUntil, words.before)}
    </>
  );
}

/** Visits: how many, how long, where they begin and end. */
export function Sessions({ settings, period }: ViewProps) {
  const { among, breakdown, bucket = "day", measure = "engaged", compare } = settings;
  const of = words.sessions;
  const bin = ({ binStart, binEnd }: { binStart: number | null; binEnd: number | null }): string => {
    const show = (value: number | null) =>
      measure === "views" ? format.figure(value) : format.duration({ seconds: value });
    return binEnd === null ? of.atLeast(show(binStart)) : `${show(binStart)} – ${show(binEnd)}`;
  };
  const label = ({ bucketStart }: { bucketStart: string | null }): string => bucketLabel(bucket, bucketStart);
  const show = (since: string, until: string | undefined, suffix: string) => (
    <>
      <Card
        title={of.title + suffix}
        explanation={of.explanation}
        isWide
        operation={sessionTrend}
        variables={{ bucket, since, until, zone, among, breakdown }}
        rows={({ analyticsSessionTrend }) => present(analyticsSessionTrend?.nodes)}
        columns={({ count, rate, span, text }) => [
          text(words.trends.time, label),
          ...(breakdown === undefined ? [] : [text(words.trends.value, valueName)]),
          count(of.sessions, ({ sessionCount }) => sessionCount),
          count(words.people, ({ personCount }) => personCount),
          count(of.perPerson, ({ sessionsPerPerson }) => sessionsPerPerson),
          span(of.engaged, ({ medianEngaged }) => medianEngaged),
          count(of.views, ({ meanViews }) => meanViews),
          rate(of.bounces, ({ bounceRate }) => bounceRate),
        ]}
        chart={(rows) => {
          const labels = distinct(rows.map(label));
          return lines(
            labels,
            groupBy(rows, valueName).map(([value, points]) => ({
              name: breakdown === undefined ? of.sessions : value,
              values: labels.map((at) => Number(points.find((point) => label(point) === at)?.sessionCount ?? 0)),
              ...(breakdown === undefined ? { cutFrom: cut(rows), hasArea: true } : {}),
            })),
          );
        }}
      />
      <Card
        title={(of.measures[measure] ?? of.measures["engaged"] ?? "") + suffix}
        explanation={of.distribution}
        operation={sessionDistribution}
        variables={{ measure, since, until, among }}
        rows={({ analyticsSessionDistribution }) => present(analyticsSessionDistribution?.nodes)}
        columns={({ count, rate, text }) => [
          text(of.bin, bin),
          count(of.sessions, ({ sessionCount }) => sessionCount),
          count(words.people, ({ personCount }) => personCount),
          rate(of.share, ({ share }) => share),
        ]}
        chart={(rows) =>
          columns(
            rows.map(bin),
            of.sessions,
            rows.map(({ sessionCount }) => Number(sessionCount ?? 0)),
          )
        }
      />
      {(["entry", "exit"] as const).map((place) => (
        <Card
          key={place}
          title={of[place] + suffix}
          explanation={of.items}
          operation={sessionItems}
          variables={{ place, since, until, among }}
          rows={({ analyticsSessionItems }) => present(analyticsSessionItems?.nodes)}
          columns={({ count, rate, text }) => [
            text(words.fields.item, ({ item, title }) => title ?? item),
            count(of.sessions, ({ sessionCount }) => sessionCount),
            count(words.people, ({ personCount }) => personCount),
            rate(of.bounces, ({ bounceRate }) => bounceRate),
          ]}
          chart={(rows) =>
            bars(
              rows.map(({ item, title }) => title ?? item ?? ""),
              of.sessions,
              rows.map(({ sessionCount }) => Number(sessionCount ?? 0)),
            )
          }
        />
      ))}
    </>
  );
  return (
    <>
      {show(period.since, period.until, "")}
      {compare === "1" && show(period.formerSince, period.formerUntil, words.before)}
    </>
  );
}

/** Named groups of people. */
export function Cohorts() {
  const of = words.cohorts;
  return (
    <>
      <Card
        title={of.segments}
        explanation={of.segmentsExplanation}
        operation={segments}
        variables={{}}
        isWide
        rows={({ analyticsSegments }) => present(analyticsSegments?.nodes)}
        columns={({ count, day, rate, text }) => [
          text(of.name, ({ segment }) => segment),
          text(of.description, ({ description }) => description),
          count(words.people, ({ personCount }) => personCount),
          rate(of.share, ({ share }) => share),
          count(of.change, ({ change }) => change),
          day(of.asOf, ({ asOf }) => asOf),
        ]}
        chart={(rows) =>
          bars(
            rows.map(({ segment }) => segment ?? ""),
            words.people,
            rows.map(({ personCount }) => Number(personCount ?? 0)),
          )
        }
      />
      <Card
        title={of.cohorts}
        explanation={of.cohortsExplanation}
        empty={of.empty}
        operation={cohorts}
        variables={{}}
        isWide
        rows={({ analyticsCohorts }) => present(analyticsCohorts?.nodes)}
        columns={({ count, day, text }) => [
          text(of.name, ({ name }) => name),
          text(of.description, ({ description }) => description),
          count(words.people, ({ personCount }) => personCount),
          text(of.kind, ({ isLive }) => (isLive === true ? of.live : of.fixed)),
          day(of.asOf, ({ asOf }) => asOf),
        ]}
      />
    </>
  );
}

/** What a person has done, for administrators. */
export function Timeline({ settings, period }: ViewProps) {
  const of = words.timeline;
  const { person } = settings;
  if (person === undefined) return <p class="note">{of.lead}</p>;
  return (
    <Card
      title={of.title(person)}
      explanation={of.explanation}
      empty={of.empty}
      operation={timeline}
      variables={{ person, since: period.since, until: period.until }}
      isWide
      rows={({ trackJourney }) => present(trackJourney?.nodes).toReversed()}
      columns={({ span, text, time }) => [
        time(of.at, ({ occurredAt }) => occurredAt),
        text(of.event, ({ event }) => event),
        text(of.item, ({ item, itemTitle }) => itemTitle ?? item),
        span(of.since, ({ sincePrevious }) => sincePrevious),
      ]}
    />
  );
}
