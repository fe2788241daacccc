create or replace function ml._document_vectors(dimensions int)
returns void
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
set jit to off
set extra_float_digits to 1
as $$
begin
  perform ml._check_dimensions(dimensions);
  create temporary table _ml_vector on commit drop as
  with document as materialized (
    select item_no, string_agg(document::text, ' ' order by document::text) as document
    from pg_temp._ml_document
    group by item_no
  ),

  term as materialized (
    select document.item_no, terms.term, terms.occurrences
    from document
    cross join lateral ml._text_terms(document.document) as terms
  ),

  weighed as materialized (
    select term, ml._term_place(term, dimensions) as place,
      1 + ln(((select count(distinct item_no) from term) + 1) / (count(*) + 1)::float8) as rarity
    from term
    group by term
  ),

  entry as (
    select term.item_no, abs(weighed.place) as place,
      sum(sign(weighed.place) * (1 + ln(term.occurrences)) * weighed.rarity order by term.term) as value
    from term
    join weighed using (term)
    group by term.item_no, abs(weighed.place)
  )

  select item_no,
    format('{%s}/%s', string_agg(place || ':' || value::real, ','), dimensions)::sparsevec::vector as embedding
  from entry
  where value <> 0
  group by item_no;
end;
$$;

comment on function ml._document_vectors(int) is $$
Creates the temporary table `_ml_vector` (item_no, embedding) from `_ml_document`, whose documents are texts.
$$;

grant execute on function ml._document_vectors(int) to insights_analyst, insights_admin, insights_worker;
