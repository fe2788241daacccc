create or replace function recommend._page_scope(context recommend.person_context, kind text)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- A list without a person is that of its items.
  return concat_ws(
    '.',
    _page_scope.kind,
    case
      when (_page_scope.context).person_id is null
        then 'i' || encode(sha256(convert_to((_page_scope.context).items::text, 'UTF8')), 'hex')
      else 'p' || (_page_scope.context).identity_id
    end
  );
end;
$$;

comment on function recommend._page_scope(recommend.person_context, text) is $$
@behavior -*
Returns the list to which a page belongs: its kind, and the identity of the person, or else a hash of the items.
$$;

create or replace function recommend._write_page(page recommend.page, scope text, at timestamptz)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select recommend._sign(
      concat_ws(
        '.', 'page', floor(extract(epoch from _write_page.at)), _write_page.scope,
        coalesce((_write_page.page).model_id, 0),
        array_to_string((_write_page.page).served, ','),
        array_to_string((_write_page.page).frozen, ','),
        array_to_string((_write_page.page).bases, ','),
        (_write_page.page).experiment_id,
        (_write_page.page).variation
      ),
      secret.inner_key, secret.outer_key
    )
    from recommend.secret
  );
end;
$$;

comment on function recommend._write_page(recommend.page, text, timestamptz) is $$
@behavior -*
Returns the signed text of a page, of which `recommend._read_page` is the opposite.
$$;

create or replace function recommend._read_page(page text, scope text, at timestamptz)
returns recommend.page
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_payload text;
  v_fields text[];
  v_identity_ids bigint[];
  v_people bigint[];
  v_result recommend.page;
begin
  -- The longest one has 2,000 items that were served and 200 frozen ones, of at most 19 digits.
  if length(_read_page.page) <= 50000 then
    v_payload := left(_read_page.page, -33);
    if _read_page.page = (
      select recommend._sign(v_payload, secret.inner_key, secret.outer_key) from recommend.secret
    ) then
      v_fields := string_to_array(v_payload, '.');
    end if;
  end if;
  if v_fields[1] is distinct from 'page' then
    perform common.refuse('CF001', format('page is "%s"', left(_read_page.page, 100)),
      'Give next_page of the last row of the list that is continued, unchanged.');
  end if;
  if concat_ws('.', v_fields[3], v_fields[4]) <> _read_page.scope then
    -- Another name of the same person, such as that of her browser before she signed in.
    v_identity_ids := array[
      substring(v_fields[4] from '^p([0-9]+)$'), substring(_read_page.scope from '[.]p([0-9]+)$')
    ];
    if split_part(_read_page.scope, '.', 1) = v_fields[3] and array_position(v_identity_ids, null) is null then
      v_people := track.people_of_identities(
        v_identity_ids, array[to_timestamp(v_fields[2]::float8), _read_page.at]
      );
    end if;
    if v_people[1] is distinct from v_people[2] or coalesce(v_people[1], 0) = 0 then
      perform common.refuse('CF001', format('the page "%s" continues another list', left(_read_page.page, 100)),
        'Give it to the same function, with the same person or items and the same kind.');
    end if;
  end if;
  if to_timestamp(v_fields[2]::float8) < _read_page.at - interval '1 day' then
    perform common.refuse('CF001', format('the page "%s" is older than a day', left(_read_page.page, 100)),
      'Call without page, which returns a new list.');
  end if;
  v_result.model_id := v_fields[5];
  v_result.served := string_to_array(v_fields[6], ',')::bigint[];
  v_result.frozen := string_to_array(v_fields[7], ',')::bigint[];
  v_result.bases := string_to_array(v_fields[8], ',');
  v_result.experiment_id := v_fields[9];
  v_result.variation := v_fields[10];
  return v_result;
end;
$$;

comment on function recommend._read_page(text, text, timestamptz) is $$
@behavior -*
Returns the content of a value of `next_page`.
Errors: CF001 for a text that is not one, for one of another list, and for one that is older than a day.
$$;

create or replace function recommend._without(
  page recommend.page,
  context recommend.person_context,
  seen bigint[],
  only_items bigint[]
)
returns recommend.page
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_page recommend.page := _without.page;
begin
  -- After an opt-out, an order that is based on what the person did is not continued.
  if ((_without.context).items = '{}' and (v_page).bases && '{model,content}')
    or ((_without.context).person_sets = '{}' and 'segment' = any ((v_page).bases))
  then
    v_page.frozen := '{}';
    v_page.bases := '{}';
    return v_page;
  end if;

  select
    coalesce(array_agg(frozen.item_id order by frozen.place), '{}'),
    coalesce(array_agg(frozen.basis order by frozen.place), '{}')
  into v_page.frozen, v_page.bases
  from unnest((_without.page).frozen, (_without.page).bases) with ordinality as frozen (item_id, basis, place)
  where frozen.item_id not in (select known.item_id from unnest(_without.seen) as known (item_id))
    and (
      _without.only_items is null
      or frozen.item_id in (select known.item_id from unnest(_without.only_items) as known (item_id))
    );
  return v_page;
end;
$$;

comment on function recommend._without(recommend.page, recommend.person_context, bigint[], bigint[]) is $$
@behavior -*
Returns a page without the given items, and with no others than `only_items` unless it is null.
The frozen order is dropped if it is based on data of which the context has none any more.
$$;

create or replace function recommend._current_bases(
  context recommend.person_context,
  kind text,
  model_id bigint,
  fewest_people int,
  items bigint[],
  bases text[]
)
returns text[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
begin
  return array(
    select case
      when frozen.basis not in ('model', 'content', 'segment', 'popularity', 'trending')
        or frozen.basis = 'model' and frozen.item_id in (
          select found.target_id
          from recommend._contributions(
            _current_bases.model_id, (_current_bases.context).items, (_current_bases.context).strengths,
            _current_bases.fewest_people, _current_bases.items
          ) as found
        )
        or frozen.basis = 'content' and frozen.item_id in (
          select found.target_id
          from recommend._content_contributions(
            (_current_bases.context).items, (_current_bases.context).strengths, _current_bases.items
          ) as found
          where found.contribution <> 0
        )
        or exists (
          select
          from recommend.ranked_list
          where ranked_list.kind = _current_bases.kind
            and ranked_list.item_id = frozen.item_id
            and ranked_list.list = any (
              case frozen.basis
                when 'popularity' then '{popular}'
                when 'trending' then '{trending}'
                when 'segment' then (_current_bases.context).person_sets
              end
            )
        )
        then frozen.basis
      when exists (
        select
        from recommend.ranked_list
        where ranked_list.kind = _current_bases.kind
          and ranked_list.item_id = frozen.item_id
          and ranked_list.list = 'popular'
      )
        then 'popularity'
      else 'newest'
    end
    from unnest(_current_bases.items, _current_bases.bases) with ordinality as frozen (item_id, basis, place)
    order by frozen.place
  );
end;
$$;

comment on function recommend._current_bases(
  recommend.person_context, text, bigint, int, bigint[], text[]
) is $$
@behavior -*
Returns what the items of a continued list are based on now.
For an item to whose score its frozen basis adds nothing any more, it is popularity if the item is popular, otherwise
its age.
$$;
