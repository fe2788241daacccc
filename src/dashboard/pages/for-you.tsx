import { useMemo, useState } from "preact/hooks";
import { Card } from "../card.tsx";
import { columns, inShares } from "../chart.tsx";
import { messageOf, present, send, useLoaded } from "../data.ts";
import { figure } from "../format.ts";
import { feedback, myChronotype, mySessions, myTimeline, type ServeMeMutation, serveMe } from "../operations.ts";
import { periodOf, zone } from "../settings.ts";
import { texts } from "../texts.ts";

const { list, sessions, hours, latest } = texts.forYou;

type Row = NonNullable<NonNullable<NonNullable<ServeMeMutation["recommendServeMe"]>["result"]>[number]>;

/** The reasons that raise a score, and those that lower it, each in the order of their size. */
function explain(reasons: Row["reasons"]): string {
  const known = present(reasons);
  const named = (chosen: typeof known): string => chosen.map(({ item, title }) => title ?? item ?? "").join(", ");
  const items = known.filter(({ item }) => item !== null);
  const raising = named(items.filter(({ contribution }) => Number(contribution) > 0));
  const lowering = named(items.filter(({ contribution }) => Number(contribution) < 0));
  const others = named(known.filter(({ item }) => item === null));
  return [raising && list.because(raising), lowering && list.despite(lowering), others].filter(Boolean).join("; ");
}

function Recommendations() {
  const { result, error, isLoading, reload } = useLoaded(serveMe, { input: { top: 8 } });
  const [said, setSaid] = useState<string>();
  const rows = present(result?.recommendServeMe?.result);
  const answer = async (kind: string, { servingId, item }: Row): Promise<void> => {
    try {
      const { recommendFeedback } = await send(feedback, { input: { feedback: kind, servingId, item } });
      setSaid(recommendFeedback?.result ? list.thanks : list.unused);
      if (kind !== "like") reload();
    } catch (error) {
      setSaid(messageOf(error));
    }
  };
  const isPopular = ["popularity", "newest"].includes(rows[0]?.basis ?? "");
  return (
    <section class="card wide" aria-labelledby="list" aria-busy={isLoading}>
      <header>
        <h2 id="list">{isPopular ? list.popular : list.title}</h2>
      </header>
      <p class="note">{isPopular ? list.lead : list.explanation}</p>
      <p class="note" role="status">
        {said}
      </p>
      {error !== undefined && (
        <p class="note bad" role="alert">
          {error.message}. {error.hint}
        </p>
      )}
      {result === undefined && error === undefined && (
        <div class="skeleton" role="status" aria-label={texts.card.loading} />
      )}
      {result !== undefined && rows.length === 0 && <p class="note">{list.empty}</p>}
      <ol class="list">
        {rows.map((row) => (
          <li key={row.item}>
            <div>
              <strong>{row.title ?? row.item}</strong>
              <span class="note">{explain(row.reasons)}</span>
            </div>
            <span class="figure" title={list.score}>
              {figure(row.score)}
            </span>
            <button type="button" class="quiet" onClick={() => void answer("like", row)}>
              {list.like}
            </button>
            <button type="button" class="quiet" onClick={() => void answer("dismiss", row)}>
              {list.dismiss}
            </button>
            <button type="button" class="quiet" onClick={() => void answer("dismiss_topic", row)}>
              {list.dismissTopic}
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** What a learner sees: recommendations that she can answer, and her own use. */
export default function ForYou() {
  const { since } = useMemo(() => periodOf({ days: "7" }), []);
  return (
    <div class="cards">
      <Recommendations />
      <Card
        title={sessions.title}
        explanation={sessions.explanation}
        operation={mySessions}
        variables={{}}
        rows={({ trackSessions }) => present(trackSessions?.nodes)}
        columns={({ count, span, time }) => [
          time(sessions.started, ({ startedAt }) => startedAt),
          count(sessions.views, ({ viewCount }) => viewCount),
          count(sessions.events, ({ eventCount }) => eventCount),
          span(sessions.engaged, ({ engaged }) => engaged),
        ]}
      />
      <Card
        title={latest.title}
        explanation={latest.explanation}
        empty={latest.empty}
        operation={myTimeline}
        variables={{ since }}
        rows={({ trackMyJourney }) => present(trackMyJourney?.nodes).toReversed()}
        columns={({ text, time }) => [
          time(latest.at, ({ occurredAt }) => occurredAt),
          text(latest.event, ({ event }) => event),
          text(latest.item, ({ item, itemTitle }) => itemTitle ?? item),
        ]}
      />
      <Card
        title={hours.title}
        explanation={hours.explanation}
        empty={hours.empty}
        operation={myChronotype}
        variables={{ zone }}
        rows={({ analyticsMyChronotype }) =>
          present(analyticsMyChronotype?.hourShares).map((share, hour) => ({ hour, share }))
        }
        columns={({ count, rate }) => [count(hours.hour, ({ hour }) => hour), rate(hours.share, ({ share }) => share)]}
        chart={(rows) =>
          inShares(
            columns(
              rows.map(({ hour }) => `${hour}:00`),
              hours.share,
              rows.map(({ share }) => share),
            ),
          )
        }
      />
    </div>
  );
}
