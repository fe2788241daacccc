create or replace function ml.content_vectors(
  source_table text,
  item_column text default 'item_id',
  text_column text default 'title',
  dimensions int default 512
)
returns setof ml.content_row
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform ml._check_dimensions(dimensions);
  perform ml._code_documents(source_table, item_column, text_column, 'text column');
  perform ml._document_vectors(dimensions);
  return query
  select *
  from ml._content_rows();
  drop table pg_temp._ml_item, pg_temp._ml_document, pg_temp._ml_vector;
end;
$$;

comment on function ml.content_vectors(text, text, text, int) is $$
Returns a vector of length 1 per item from its text, in the order of `item_column`; null when the text has no word.
`text_column` is a column or an expression, such as `concat_ws(' ', title, attributes ->> 'subject')`; the texts of
several rows of an item are joined. A term counts (1 + ln(occurrences)) · (1 + ln((N + 1) / (n + 1))) where n of N texts
have it, at the place that `ml.text_vector` describes. Similar texts have a large cosine.
Errors: CF001 (the expression, dimensions), CF002 (no such table or column), CF004 (no rows), CF005 (not readable).
Source: Weinberger et al., Feature hashing for large scale multitask learning, ICML 2009.
$$;

grant execute on function ml.content_vectors(text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
