create or replace function track._queried_keys(query jsonb, source smallint)
returns bigint[]
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
return array_remove(
  array[
    track._statement_key(
      source, case query ->> 'related_agents' when 'true' then 'related agent' else 'agent' end,
      track._agent_identifier(query -> 'agent')
    ),
    track._statement_key(
      source, case query ->> 'related_activities' when 'true' then 'related activity' else 'activity' end,
      query ->> 'activity'
    ),
    track._statement_key(source, 'verb', query ->> 'verb'),
    track._statement_key(source, 'registration', lower(query ->> 'registration'))
  ],
  null
);

comment on function track._queried_keys(jsonb, smallint) is $$
Returns the keys that a statement must have to be in the answer to a query of `track.statements`.
$$;

/*
 * The order is that of an index, and the keys are in another one. What many statements have is found by walking the
 * first index; what few have, by the second. Which of them it is, is not estimated but tried: the first part walks a
 * bounded number of statements, which fill the page if at least one in `v_share` has the keys, and the second part
 * finds the others.
 */
create or replace function track._page_of_statements(query jsonb, source smallint, top int)
returns table (stored_at timestamptz, statement jsonb, bytes bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_share constant int := 20;
  v_ascending constant boolean := coalesce(query ->> 'ascending' = 'true', false);
  v_order constant text := case when v_ascending then 'asc' else 'desc' end;
  v_later constant text := case when v_ascending then '>' else '<' end;
  v_keys constant bigint[] := track._queried_keys(query, _page_of_statements.source);
  v_range constant text := concat(
    case when query ? 'since' then ' and statement.stored_at > $3' end,
    case when query ? 'until' then ' and statement.stored_at <= $4' end,
    case when query ? 'start' then format(' and statement.stored_at %s $5', v_later) end
  );
  v_bytes constant text := case
    when query ->> 'attachments' = 'true' then 'statement.bytes::bigint + statement.attachment_bytes'
    else 'statement.bytes::bigint'
  end;
  -- Planned for each execution, by what is queried.
  v_part constant text := format(
    'select statement.stored_at, statement.statement, %s
    from track.statement
    where statement.source_id = $1
      and not statement.is_voided%s
      and %%s
    order by statement.stored_at %s
    limit $6',
    v_bytes, v_range, v_order
  );
  v_walked constant int := v_share * _page_of_statements.top;
  -- Time of the first statement that the first part does not walk.
  v_next timestamptz;
  v_found int;
begin
  if v_keys = '{}' then
    return query execute format(v_part, '$2 is not null')
    using
      _page_of_statements.source, v_keys, (query ->> 'since')::timestamptz, (query ->> 'until')::timestamptz,
      (query ->> 'start')::timestamptz, _page_of_statements.top;
    return;
  end if;

  execute format(
    'select statement.stored_at
    from track.statement
    where statement.source_id = $1
      and $2 is not null%s
    order by statement.stored_at %s
    offset $6
    limit 1',
    v_range, v_order
  )
  into v_next
  using
    _page_of_statements.source, v_keys, (query ->> 'since')::timestamptz, (query ->> 'until')::timestamptz,
    (query ->> 'start')::timestamptz, v_walked;
  return query execute format(
    v_part,
    format(
      '($7 is null or $7 %s statement.stored_at)
      and (
        statement.keys @> $2
        or statement.reference_id is not null and exists (
          with recursive target as (
            select referred.statement_id, referred.reference_id, referred.keys
            from track.statement as referred
            where referred.source_id = $1
              and referred.statement_id = statement.reference_id
            union
            select referred.statement_id, referred.reference_id, referred.keys
            from target
            join track.statement as referred
              on referred.source_id = $1
              and referred.statement_id = target.reference_id
          )
          select
          from target
          where target.keys @> $2
        )
      )',
      v_later
    )
  )
  using
    _page_of_statements.source, v_keys, (query ->> 'since')::timestamptz, (query ->> 'until')::timestamptz,
    (query ->> 'start')::timestamptz, _page_of_statements.top, v_next;
  get diagnostics v_found = row_count;
  if v_next is null or v_found >= _page_of_statements.top then
    return;
  end if;

  return query execute format(
    'with recursive matched as materialized (
      select statement.statement_id, statement.stored_at, statement.is_voided
      from track.statement
      where statement.source_id = $1
        and statement.keys @> $2
    ),

    reference as (
      select referring.statement_id, referring.stored_at, referring.is_voided
      from track.statement as referring
      where referring.source_id = $1
        and referring.reference_id is not null
        and referring.reference_id in (select matched.statement_id from matched)
      union
      select referring.statement_id, referring.stored_at, referring.is_voided
      from reference
      join track.statement as referring
        on referring.source_id = $1
        and referring.reference_id = reference.statement_id
    ),

    found as (
      (
        select statement.stored_at
        from matched as statement
        where not statement.is_voided%1$s
          and not $7 %2$s statement.stored_at
        order by statement.stored_at %3$s
        limit $6
      )
      union
      (
        select statement.stored_at
        from reference as statement
        where not statement.is_voided%1$s
          and not $7 %2$s statement.stored_at
        order by statement.stored_at %3$s
        limit $6
      )
    )

    select statement.stored_at, statement.statement, %4$s
    from found
    join track.statement on statement.source_id = $1 and statement.stored_at = found.stored_at
    order by statement.stored_at %3$s
    limit $6',
    v_range, v_later, v_order, v_bytes
  )
  using
    _page_of_statements.source, v_keys, (query ->> 'since')::timestamptz, (query ->> 'until')::timestamptz,
    (query ->> 'start')::timestamptz, _page_of_statements.top - v_found, v_next;
end;
$$;

comment on function track._page_of_statements(jsonb, smallint, int) is $$
Returns the first statements of a query. Those that refer to a statement with its keys are found, too.
$$;

create or replace function track._consistent_through(source smallint)
returns timestamptz
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_through timestamptz;
begin
  -- Without a writer at this moment, later ones store later times.
  if pg_try_advisory_lock_shared(hashtext('track.statement'), _consistent_through.source) then
    v_through := clock_timestamp();
    perform pg_advisory_unlock_shared(hashtext('track.statement'), _consistent_through.source);
    return v_through;
  end if;
  select max(statement.stored_at) into v_through
  from track.statement
  where statement.source_id = _consistent_through.source;
  return coalesce(v_through, '-infinity');
end;
$$;

comment on function track._consistent_through(smallint) is $$
Returns the time before which no further statement of a source will be stored, as far as later statements see it.
$$;

create or replace function track.statements(query jsonb)
returns track.statement_page
language plpgsql
volatile
-- A definer: no role may read the statements of a source but with its key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
as $$
declare
  v_source constant smallint := track._reading_source('statements');
  v_top int;
  v_page track.statement_page;
begin
  if pg_column_size(statements.query) > 100000 or jsonb_typeof(statements.query) is distinct from 'object' then
    perform common.refuse('CF009', 'the query is not an object of at most 100000 bytes', 'Send {"verb": …}.');
  end if;
  v_page.consistent_through := track._consistent_through(v_source);
  if statements.query ?| '{statementId,voidedStatementId}' then
    select jsonb_agg(statement.statement) into v_page.statements
    from track.statement
    where statement.source_id = v_source
      and statement.statement_id = coalesce(query ->> 'statementId', query ->> 'voidedStatementId')::uuid
      and statement.is_voided = (query ? 'voidedStatementId');
    return v_page;
  end if;

  v_top := coalesce((query ->> 'limit')::int, 100);
  perform common.check_count('limit', v_top, 1, 500);
  with found as (
    select
      page.*, row_number() over running as place, sum(page.bytes) over running as bytes_so_far,
      count(*) over () as found
    from track._page_of_statements(statements.query, v_source, v_top + 1)
      with ordinality as page (stored_at, statement, bytes, ordinality)
    window running as (order by page.ordinality)
  ),

  -- At least one.
  listed as (
    select found.*
    from found
    where found.place <= v_top
      and (found.place = 1 or found.bytes_so_far <= 8000000)
  )

  select
    jsonb_agg(listed.statement order by listed.place),
    case
      when count(*) < max(listed.found)
        then to_char(
          (array_agg(listed.stored_at order by listed.place desc))[1], 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
        )
    end
  into v_page.statements, v_page.next
  from listed;
  return v_page;
end;
$$;

comment on function track.statements(jsonb) is $$
@behavior -*
Returns a page of the xAPI statements that the source of the caller has sent, with the parameters of xAPI 1.0.3.
`query`: `statementId` or `voidedStatementId`; or `agent` (an object), `verb`, `activity`, `registration`,
`related_agents`, `related_activities`, `since`, `until`, `limit` (1 to 500; 100), `ascending`, `attachments`, and
`start`, which is `next` of the previous page. A page has at most 8 MB, or one statement. The order is that of the
storage, the latest first. Voided statements are found by `voidedStatementId` only. Statements are found, too, when one
that they refer to is found.
Errors: CF001 for an invalid `limit`, CF005 unless the caller has the key of a server, CF009 for an invalid query.
$$;

grant execute on function track.statements(jsonb)
to insights_visitor, insights_admin, insights_worker;
