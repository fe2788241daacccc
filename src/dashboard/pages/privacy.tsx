import { useState } from "preact/hooks";
import { Card, saveAs } from "../card.tsx";
import { messageOf, present, send, useLoaded } from "../data.ts";
import { moment } from "../format.ts";
import {
  consents,
  dataMap,
  decideConsent,
  disclosures,
  erasures,
  myData,
  myDisclosures,
  myRequests,
  openRequest,
  pendingRequests,
  purposes,
  retentionPlan,
} from "../operations.ts";
import type { Session } from "../session.ts";
import { texts } from "../texts.ts";

const { own, asked, readers, pending, erased, disclosed, retention, map } = texts.privacy;

function Consents() {
  const known = useLoaded(purposes, {});
  const decided = useLoaded(consents, {});
  const [said, setSaid] = useState<string>();
  const decisions = new Map(present(decided.result?.privacyCurrentConsents?.nodes).map((row) => [row.purpose, row]));
  const decide = async (purpose: string, granted: boolean): Promise<void> => {
    try {
      await send(decideConsent, { input: { purposes: [purpose], granted } });
      setSaid(own.recorded);
    } catch (error) {
      setSaid(messageOf(error));
    }
    decided.reload();
  };
  const { error } = known;
  return (
    <section class="card wide" aria-labelledby="consents" aria-busy={known.isLoading || decided.isLoading}>
      <header>
        <h2 id="consents">{own.title}</h2>
      </header>
      <p class="note">{own.lead}</p>
      <p class="note" role="status">
        {said}
      </p>
      {error !== undefined && <p class="note bad">{error.message}</p>}
      <ul class="list">
        {present(known.result?.privacyPurposes?.nodes).map(({ purpose, description, basis }) => {
          const decision = decisions.get(purpose);
          return (
            <li key={purpose}>
              <div>
                <strong>{purpose}</strong>
                <span class="note">{description}</span>
                <span class="note">
                  {basis === "consent" ? own.byConsent : own.basis(basis)}
                  {decision?.decidedAt && ` ${own.decided(decision.granted === true, moment(decision.decidedAt))}`}
                </span>
              </div>
              {basis !== "contract" && (
                <>
                  <button
                    type="button"
                    class="quiet"
                    aria-pressed={decision?.granted === true}
                    onClick={() => void decide(purpose, true)}
                  >
                    {own.allow}
                  </button>
                  <button
                    type="button"
                    class="quiet"
                    aria-pressed={decision?.granted === false}
                    onClick={() => void decide(purpose, false)}
                  >
                    {own.refuse}
                  </button>
                </>
              )}
            </li>
          );
        })}
      </ul>
    </section>
  );
}

function Rights({ onRequest }: { onRequest: () => void }) {
  const [said, setSaid] = useState<string>();
  const [isSure, setSure] = useState(false);
  const attempt = async (action: () => Promise<string>): Promise<void> => {
    setSaid(undefined);
    try {
      setSaid(await action());
    } catch (error) {
      setSaid(messageOf(error));
    }
  };
  const request = (kind: string) =>
    attempt(async () => {
      const { privacyOpenMyRequest } = await send(openRequest, { input: { kind } });
      onRequest();
      return own.answeredBy(moment(privacyOpenMyRequest?.result?.dueAt));
    });
  return (
    <section class="card wide" aria-labelledby="rights">
      <header>
        <h2 id="rights">{own.rights}</h2>
      </header>
      <p class="note">{own.rightsLead}</p>
      <div class="actions">
        <button
          type="button"
          onClick={() =>
            void attempt(async () => {
              const { privacyExportMe } = await send(myData, {});
              saveAs("my-data.json", JSON.stringify(privacyExportMe, null, 2), "application/json");
              return own.exported;
            })
          }
        >
          {own.export}
        </button>
        <button type="button" class="quiet" onClick={() => void request("rectification")}>
          {own.rectify}
        </button>
        <button type="button" class="quiet" onClick={() => void request("objection")}>
          {own.object}
        </button>
        {isSure ? (
          <>
            <span class="bad">{own.sure}</span>
            <button type="button" class="danger" onClick={() => void request("erasure").then(() => setSure(false))}>
              {own.yes}
            </button>
            <button type="button" class="quiet" onClick={() => setSure(false)}>
              {own.no}
            </button>
          </>
        ) : (
          <button type="button" class="quiet" onClick={() => setSure(true)}>
            {own.erase}
          </button>
        )}
      </div>
      <p class="note" role="status">
        {said}
      </p>
    </section>
  );
}

/** What is known about a person, and her decisions about it. */
function Center() {
  const [count, setCount] = useState(0);
  return (
    <div class="cards">
      <Consents />
      <Rights onRequest={() => setCount(count + 1)} />
      <Card
        key={count}
        title={asked.title}
        explanation={asked.explanation}
        empty={asked.empty}
        operation={myRequests}
        variables={{}}
        rows={({ privacyRequests }) => present(privacyRequests?.nodes)}
        columns={({ text, time }) => [
          text(asked.kind, ({ kind }) => kind),
          text(asked.state, ({ state }) => state),
          time(asked.received, ({ receivedAt }) => receivedAt),
          time(asked.due, ({ dueAt }) => dueAt),
          time(asked.completed, ({ completedAt }) => completedAt),
        ]}
      />
      <Card
        title={readers.title}
        explanation={readers.explanation}
        empty={readers.empty}
        operation={myDisclosures}
        variables={{}}
        rows={({ privacyMyDisclosures }) => present(privacyMyDisclosures?.nodes)}
        columns={({ text, time }) => [
          time(readers.at, ({ readAt }) => readAt),
          text(readers.by, ({ readBy }) => readBy),
          text(readers.role, ({ role }) => role),
          text(readers.reason, ({ reason }) => reason),
        ]}
      />
    </div>
  );
}

/** Requests with their clocks, erasures, disclosures, retention, and where personal data is. */
function Desk() {
  return (
    <div class="cards">
      <Card
        title={pending.title}
        explanation={pending.explanation}
        empty={pending.empty}
        operation={pendingRequests}
        variables={{}}
        isWide
        everyMs={60_000}
        rows={({ privacyPendingRequests }) => present(privacyPendingRequests?.nodes)}
        columns={({ text, time }) => [
          text(pending.request, ({ requestId }) => requestId),
          text(asked.kind, ({ kind }) => kind),
          text(pending.regime, ({ regime }) => regime),
          time(asked.received, ({ receivedAt }) => receivedAt),
          {
            head: asked.due,
            value: ({ dueAt }) => dueAt,
            show: ({ dueAt, isOverdue }) => <span class={isOverdue ? "bad" : ""}>{moment(dueAt)}</span>,
          },
        ]}
      />
      <Card
        title={erased.title}
        explanation={erased.explanation}
        empty={erased.empty}
        operation={erasures}
        variables={{}}
        isWide
        rows={({ privacyErasures }) => present(privacyErasures?.nodes)}
        columns={({ text, time }) => [
          text(erased.receipt, ({ erasureId }) => erasureId),
          time(erased.requested, ({ requestedAt }) => requestedAt),
          time(erased.completed, ({ completedAt }) => completedAt),
          text(erased.reason, ({ reason }) => reason),
        ]}
      />
      <Card
        title={disclosed.title}
        explanation={disclosed.explanation}
        empty={readers.empty}
        operation={disclosures}
        variables={{}}
        isWide
        rows={({ privacyDisclosures }) => present(privacyDisclosures?.nodes)}
        columns={({ text, time }) => [
          time(readers.at, ({ readAt }) => readAt),
          text(readers.by, ({ readBy }) => readBy),
          text(readers.role, ({ role }) => role),
          text(disclosed.function, ({ functionName }) => functionName),
          text(disclosed.subject, ({ subjectName }) => subjectName),
          text(readers.reason, ({ reason }) => reason),
        ]}
      />
      <Card
        title={retention.title}
        explanation={retention.explanation}
        empty={retention.empty}
        operation={retentionPlan}
        variables={{}}
        isWide
        rows={({ privacyRetentionPlan }) => present(privacyRetentionPlan?.nodes)}
        columns={({ count, text, time }) => [
          text(retention.table, ({ tableName }) => tableName),
          text(retention.rule, ({ rule }) => rule),
          text(retention.method, ({ method }) => method),
          time(retention.horizon, ({ horizon }) => horizon),
          count(retention.rows, ({ rowCount }) => rowCount),
          count(retention.held, ({ heldCount }) => heldCount),
        ]}
      />
      <Card
        title={map.title}
        explanation={map.explanation}
        operation={dataMap}
        variables={{}}
        isWide
        rows={({ privacyDataMaps }) => present(privacyDataMaps?.nodes)}
        columns={({ text }) => [
          text(map.column, ({ schemaName, tableName, columnName }) => `${schemaName}.${tableName}.${columnName}`),
          text(map.holds, ({ holds }) => holds),
          text(map.purpose, ({ purpose }) => purpose),
          text(map.basis, ({ basis }) => basis),
          text(map.erasure, ({ erasure }) => erasure),
        ]}
      />
    </div>
  );
}

export default function Privacy({ session }: { session: Session }) {
  return session.role === "admin" ? <Desk /> : <Center />;
}
