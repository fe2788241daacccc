import { Card } from "../card.tsx";
import { bars, groups } from "../chart.tsx";
import { present } from "../data.ts";
import { inSeconds } from "../format.ts";
import { popularItems, trendingItems } from "../operations.ts";
import { texts } from "../texts.ts";
import { distinct, groupBy, type ViewProps, valueName } from "./view.ts";

const words = texts.explore;
const { popular, rising } = texts.overview;

/** Values of a breakdown that are shown. */
const topValues = 5;

/** What is used most, and what is used more than its past lets expect. */
export function Items({ settings, period }: ViewProps) {
  const { kind = "course", measure = "people", among, breakdown, compare } = settings;
  const of = words.items;
  const nameOf = ({ item, title }: { item: string | null; title: string | null }): string => title ?? item ?? "";
  const measureName = words.choices[measure] ?? measure;
  const show = (since: string, until: string | undefined, suffix: string) => {
    // With a breakdown more of them, so that what is used most by all is among those of each value.
    const top = breakdown === undefined ? 10 : 50;
    const variables = { kind, measure, since, until, among, breakdown, topValues, top };
    return (
      <>
        <Card
          title={of.popular + suffix}
          explanation={of.popularExplanation}
          isWide
          isTall={breakdown !== undefined}
          operation={popularItems}
          variables={variables}
          rows={({ analyticsPopularItems }) => present(analyticsPopularItems?.nodes)}
          columns={({ count, span, text }) => [
            ...(breakdown === undefined ? [] : [text(words.trends.value, valueName)]),
            count(of.rank, ({ rank }) => rank),
            text(of.item, nameOf),
            count(popular.people, ({ personCount }) => personCount),
            count(popular.events, ({ eventCount }) => eventCount),
            span(popular.engaged, ({ engaged }) => engaged),
          ]}
          chart={(rows) => {
            const figureOf = ({ personCount, eventCount, engaged }: (typeof rows)[number]): number => {
              if (measure === "engaged") return engaged ? inSeconds(engaged) / 3600 : 0;
              return Number(measure === "events" ? eventCount : personCount);
            };
            const label = measure === "engaged" ? of.hours : measureName;
            if (breakdown === undefined) return bars(rows.map(nameOf), label, rows.map(figureOf));
            const usedBy = (item: string): number =>
              rows.filter((row) => nameOf(row) === item).reduce((sum, row) => sum + figureOf(row), 0);
            const items = distinct(rows.map(nameOf))
              .toSorted((one, other) => usedBy(other) - usedBy(one))
              .slice(0, 10);
            return groups(
              items,
              groupBy(rows, valueName).map(([value, used]) => ({
                name: value,
                values: items.map((item) => {
                  const row = used.find((each) => nameOf(each) === item);
                  return row === undefined ? null : figureOf(row);
                }),
              })),
            );
          }}
        />
        <Card
          title={of.rising + suffix}
          explanation={of.risingExplanation}
          empty={of.noneRising}
          isWide
          operation={trendingItems}
          variables={variables}
          rows={({ analyticsTrendingItems }) => present(analyticsTrendingItems?.nodes)}
          columns={({ count, text }) => [
            ...(breakdown === undefined ? [] : [text(words.trends.value, valueName)]),
            count(of.rank, ({ rank }) => rank),
            text(of.item, nameOf),
            count(rising.measured, ({ measured }) => measured),
            count(rising.expected, ({ expected }) => expected),
            count(rising.growth, ({ growth }) => growth),
          ]}
        />
      </>
    );
  };
  return (
    <>
      {show(period.since, period.until, "")}
      {compare === "1" && show(period.formerSince, period.formerUntil, words.before)}
    </>
  );
}
