import { Card } from "../card.tsx";
import { bars, columns, cut, lines, marksOf, notesOf, week } from "../chart.tsx";
import { present, useLoaded } from "../data.ts";
import * as format from "../format.ts";
import {
  activePeople,
  activityByMinute,
  courseSummaries,
  hourOfWeek,
  latestDays,
  openAlerts,
  pageViews,
  popularItems,
  trendingItems,
} from "../operations.ts";
import { Runs } from "../runs.tsx";
import type { Session } from "../session.ts";
import { usePinned, useSettings, zone } from "../settings.ts";
import { texts } from "../texts.ts";

const { latest, minutes, people, views, popular, rising, completion, hours, alerts } = texts.overview;

/** The figures of the last day that has ended, and of today so far. */
function Latest({ now }: { now: string }) {
  const { result } = useLoaded(latestDays, { since: now, zone }, { everyMs: 30_000 });
  if (result === undefined) return <div class="figures skeleton" role="status" aria-label={texts.card.loading} />;
  const people = present(result.analyticsActivePeople?.nodes);
  const today = people.filter(({ isComplete }) => isComplete === false);
  const ended = people.filter(({ isComplete }) => isComplete === true);
  const of = (points: typeof people, days: number) => points.findLast(({ windowDays }) => windowDays === days);
  const views = present(result.analyticsTrend?.nodes).at(-1);
  const tiles: [string, string][] = [
    [latest.today, format.figure(of(today, 1)?.personCount)],
    [latest.week, format.figure(of(ended, 7)?.personCount)],
    [latest.month, format.figure(of(ended, 30)?.personCount)],
    [latest.stickiness, format.share(of(ended, 30)?.stickiness)],
    [latest.views, format.figure(views?.eventCount)],
    [latest.engaged, format.duration(present(result.ofAnyEvent?.nodes).at(-1)?.engaged)],
  ];
  return (
    <dl class="figures">
      {tiles.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** What happens on the platform: people, page views, courses; for administrators also alerts and runs. */
export default function Overview({ session }: { session: Session }) {
  const { period } = useSettings();
  const pinned = usePinned();
  const { since } = period;
  const now = new Date();
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1).toISOString();
  return (
    <div class="cards">
      {pinned?.card === undefined && <Latest now={yesterday} />}
      <Card
        title={minutes.title}
        explanation={minutes.explanation}
        operation={activityByMinute}
        variables={{}}
        isWide
        isLow
        everyMs={10_000}
        empty={session.role === "analyst" ? minutes.withheld : minutes.none}
        rows={({ analyticsActivityByMinute }) => {
          const rows = present(analyticsActivityByMinute?.nodes);
          return rows.some(({ eventCount }) => Number(eventCount) > 0) ? rows : [];
        }}
        columns={({ count, time }) => [
          time(minutes.minute, ({ minute }) => minute),
          count(minutes.events, ({ eventCount }) => eventCount),
          count(minutes.people, ({ personCount }) => personCount),
        ]}
        chart={(rows) =>
          columns(
            rows.map(({ minute }) => format.clock(minute)),
            minutes.events,
            rows.map(({ eventCount }) => Number(eventCount ?? 0)),
          )
        }
      />
      <Card
        title={people.title}
        explanation={people.explanation}
        operation={activePeople}
        variables={{ since, zone }}
        isWide
        everyMs={60_000}
        rows={({ analyticsActivePeople }) => {
          const byDay = new Map<
            string,
            { start: string; isComplete: boolean; counts: Record<number, string>; stickiness: number | null }
          >();
          for (const point of present(analyticsActivePeople?.nodes)) {
            const start = point.bucketStart ?? "";
            const row = byDay.get(start) ?? { start, isComplete: true, counts: {}, stickiness: null };
            row.counts[point.windowDays ?? 0] = point.personCount ?? "0";
            row.isComplete &&= point.isComplete ?? true;
            if (point.windowDays === 30) row.stickiness = point.stickiness;
            byDay.set(start, row);
          }
          return [...byDay.values()].toSorted((one, other) => one.start.localeCompare(other.start));
        }}
        columns={({ count, day, rate }) => [
          day(texts.day, ({ start }) => start),
          count(people.day, ({ counts }) => counts[1]),
          count(people.week, ({ counts }) => counts[7]),
          count(people.month, ({ counts }) => counts[30]),
          rate(people.stickiness, ({ stickiness }) => stickiness),
        ]}
        chart={(rows) =>
          lines(
            rows.map(({ start }) => format.day(start)),
            [
              {
                name: people.day,
                values: rows.map(({ counts }) => Number(counts[1] ?? 0)),
                cutFrom: cut(rows),
                hasArea: true,
              },
              { name: people.week, values: rows.map(({ counts }) => Number(counts[7] ?? 0)), cutFrom: cut(rows) },
              { name: people.month, values: rows.map(({ counts }) => Number(counts[30] ?? 0)), cutFrom: cut(rows) },
            ],
          )
        }
      />
      <Card
        title={views.title}
        explanation={views.explanation}
        operation={pageViews}
        variables={{ since, zone }}
        isWide
        everyMs={60_000}
        rows={({ analyticsTrend }) => present(analyticsTrend?.nodes)}
        columns={({ count, day, text }) => [
          day(texts.day, ({ bucketStart }) => bucketStart),
          count(views.events, ({ eventCount }) => eventCount),
          count(views.average, ({ runningAverage }) => runningAverage),
          count(views.people, ({ personCount }) => personCount),
          text(views.notes, ({ annotations }) => present(annotations).join("; ")),
        ]}
        note={(rows) => notesOf(rows)}
        chart={(rows) =>
          lines(
            rows.map(({ bucketStart }) => format.day(bucketStart)),
            [
              {
                name: views.events,
                values: rows.map(({ eventCount }) => Number(eventCount ?? 0)),
                cutFrom: cut(rows),
                hasArea: true,
              },
              { name: views.average, values: rows.map(({ runningAverage }) => runningAverage), isDashed: true },
            ],
            marksOf(rows),
          )
        }
      />
      <Card
        title={popular.title}
        explanation={popular.explanation}
        operation={popularItems}
        variables={{ kind: "course", since, top: 10 }}
        rows={({ analyticsPopularItems }) => present(analyticsPopularItems?.nodes)}
        columns={({ count, span, text }) => [
          text(popular.course, ({ item, title }) => title ?? item),
          count(popular.people, ({ personCount }) => personCount),
          count(popular.events, ({ eventCount }) => eventCount),
          span(popular.engaged, ({ engaged }) => engaged),
        ]}
        chart={(rows) =>
          bars(
            rows.map(({ item, title }) => title ?? item ?? ""),
            popular.people,
            rows.map(({ personCount }) => Number(personCount)),
          )
        }
      />
      <Card
        title={rising.title}
        explanation={rising.explanation}
        empty={rising.empty}
        operation={trendingItems}
        variables={{ kind: "course", top: 10 }}
        rows={({ analyticsTrendingItems }) => present(analyticsTrendingItems?.nodes)}
        columns={({ count, text }) => [
          text(popular.course, ({ item, title }) => title ?? item),
          count(rising.measured, ({ measured }) => measured),
          count(rising.expected, ({ expected }) => expected),
          count(rising.growth, ({ growth }) => growth),
        ]}
      />
      <Card
        title={completion.title}
        explanation={completion.explanation}
        operation={courseSummaries}
        variables={{}}
        rows={({ analyticsCourseSummaries }) =>
          present(analyticsCourseSummaries?.nodes).toSorted(
            (one, other) => Number(other.enrolmentCount) - Number(one.enrolmentCount),
          )
        }
        columns={({ count, rate, text }) => [
          text(popular.course, ({ course, title }) => title ?? course),
          count(completion.enrolled, ({ enrolmentCount }) => enrolmentCount),
          count(completion.completed, ({ completionCount }) => completionCount),
          count(completion.dropped, ({ droppedCount }) => droppedCount),
          rate(completion.rate, ({ completionRate }) => completionRate),
        ]}
        note={([first]) => completion.refreshed(format.moment(first?.refreshedAt))}
      />
      <Card
        title={hours.title}
        explanation={hours.explanation}
        operation={hourOfWeek}
        variables={{ since, zone }}
        rows={({ analyticsHourOfWeek }) => present(analyticsHourOfWeek?.nodes)}
        columns={({ count }) => [
          {
            head: hours.weekday,
            value: ({ weekday }) => weekday,
            show: ({ weekday }) => texts.weekdays[(weekday ?? 1) - 1],
          },
          count(hours.hour, ({ hour }) => hour),
          count(hours.views, ({ eventCount }) => eventCount),
          count(hours.people, ({ personCount }) => personCount),
        ]}
        chart={(rows) => {
          const values = texts.weekdays.map(() => new Array<number>(24).fill(0));
          for (const { weekday, hour, eventCount } of rows) {
            const day = values[(weekday ?? 1) - 1];
            if (day !== undefined) day[hour ?? 0] = Number(eventCount ?? 0);
          }
          return week(values, hours.views);
        }}
      />
      {session.role === "admin" && (
        <>
          <Card
            title={alerts.title}
            explanation={alerts.explanation}
            empty={alerts.empty}
            operation={openAlerts}
            variables={{}}
            isWide
            everyMs={30_000}
            rows={({ monitorAlerts }) =>
              present(monitorAlerts?.nodes).toSorted(
                (one, other) => Number(one.state === "resolved") - Number(other.state === "resolved"),
              )
            }
            columns={({ text, time }) => [
              {
                head: alerts.state,
                value: ({ state }) => state,
                show: ({ state }) => <span class={state === "resolved" ? "good" : "bad"}>{state}</span>,
              },
              text(alerts.severity, ({ severity }) => severity),
              text(alerts.message, ({ message }) => message),
              text(alerts.fix, ({ fix }) => fix),
              time(alerts.since, ({ openedAt }) => openedAt),
            ]}
          />
          <Runs first={12} />
        </>
      )}
    </div>
  );
}
