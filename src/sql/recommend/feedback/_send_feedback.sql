create or replace function recommend._send_feedback(
  person text,
  name_field text,
  feedback text,
  item text,
  value float8,
  topic text,
  serving_id text
)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
as $$
declare
  v_kinds constant text[] := '{show,click,like,dislike,rate,dismiss,know,dismiss_topic,withdraw}';
  v_event text := (
    '{
      "show": "Recommendation Shown", "click": "Recommendation Clicked", "like": "Item Liked",
      "dislike": "Item Disliked", "rate": "Item Rated", "dismiss": "Item Dismissed", "know": "Item Known",
      "dismiss_topic": "Topic Dismissed", "withdraw": "Feedback Withdrawn"
    }'::jsonb
  ) ->> _send_feedback.feedback;
  v_topic constant text := nullif(btrim(_send_feedback.topic), '');
  v_item_id bigint;
  v_serving recommend.serving;
  v_weight recommend.event_weight;
  v_result track.ingest_result;
  v_error jsonb;
  v_person_id bigint;
begin
  perform recommend._check_session('send feedback', '{}');
  if v_event is null then
    perform common.refuse(
      'CF002',
      format('there is no feedback "%s"', coalesce(left(_send_feedback.feedback, 100), 'null')),
      coalesce('Did you mean "' || common.nearest_name(_send_feedback.feedback, v_kinds) || '"? ', '')
        || format('There are %s.', array_to_string(v_kinds, ', '))
    );
  end if;

  if _send_feedback.item is not null then
    v_item_id := (recommend._find_items(array[_send_feedback.item]))[1];
  end if;
  if _send_feedback.serving_id is not null then
    v_serving := recommend._own_serving(_send_feedback.serving_id, track.find_person(_send_feedback.person));
    select coalesce(known.merged_item_id, known.item_id) into v_serving.item_id
    from track.item as known
    where known.item_id = v_serving.item_id;
    if v_item_id <> v_serving.item_id then
      perform common.refuse(
        'CF001',
        format('item is "%s"', left(_send_feedback.item, 100)),
        format(
          'The serving_id is that of "%s": give no item, or this one.',
          (select left(known.external_id, 100) from track.item as known where known.item_id = v_serving.item_id)
        )
      );
    end if;
    v_item_id := v_serving.item_id;
    if v_event = 'Item Dismissed' then
      v_event := 'Recommendation Dismissed';
    end if;
  elsif _send_feedback.feedback in ('show', 'click') then
    perform common.refuse('CF001', 'serving_id is null', 'Give the serving_id of the row of the list.');
  end if;

  if v_topic is not null and _send_feedback.feedback not in ('dismiss_topic', 'withdraw') then
    perform common.refuse('CF001', format('topic is "%s"', left(v_topic, 100)),
      'A topic belongs to dismiss_topic and withdraw.');
  end if;
  if length(v_topic) > 500 then
    perform common.refuse('CF008', format('topic has %s characters', length(v_topic)), 'A topic has at most 500.');
  end if;
  if v_item_id is null and v_topic is null then
    perform common.refuse(
      'CF001',
      'item is null',
      case
        when _send_feedback.feedback in ('dismiss_topic', 'withdraw') then 'Give an item, a serving_id or a topic.'
        else 'Give an item or a serving_id.'
      end
    );
  end if;

  if _send_feedback.feedback = 'dismiss_topic' and v_topic is null
    and not exists (select from recommend._topics(array[v_item_id]))
  then
    perform common.refuse(
      'CF001',
      format(
        'item "%s" has no topic',
        (select left(known.external_id, 100) from track.item as known where known.item_id = v_item_id)
      ),
      format(
        'Dismiss the item, or state the topics of items in the attribute "%s".',
        (select left(setting.topic_attribute, 100) from recommend.setting)
      )
    );
  end if;

  if _send_feedback.feedback <> 'rate' then
    if _send_feedback.value is not null then
      perform common.refuse('CF001', format('value is %s', _send_feedback.value), 'A value belongs to rate.');
    end if;
  else
    select * into v_weight
    from recommend.event_weight
    where event_weight.event = v_event;
    if v_weight.value_property is null then
      perform common.refuse('CF006', format('there is no scale of "%s"', v_event),
        'Administrators set value_property, value_from and value_to in recommend.event_weight.');
    end if;
    if _send_feedback.value is null
      or _send_feedback.value not between least(v_weight.value_from, v_weight.value_to)
        and greatest(v_weight.value_from, v_weight.value_to)
    then
      perform common.refuse(
        'CF001',
        format('value is %s', coalesce(_send_feedback.value::text, 'null')),
        format('Give a number from %s to %s.', v_weight.value_from, v_weight.value_to)
      );
    end if;
  end if;

  v_result := track.ingest(jsonb_build_array(jsonb_build_object(
    'type', 'track',
    'messageId', 'feedback-' || gen_random_uuid(),
    _send_feedback.name_field, _send_feedback.person,
    'event', v_event,
    'properties', jsonb_strip_nulls(jsonb_build_object(
      'item', (select known.external_id from track.item as known where known.item_id = v_item_id),
      'topic', v_topic,
      'servingId', _send_feedback.serving_id
    )) || case when v_weight.value_property is null then '{}' else
      jsonb_build_object(v_weight.value_property, _send_feedback.value)
    end
  )));
  if v_result.rejected > 0 then
    v_error := v_result.errors -> 0;
    perform common.refuse(v_error ->> 'code', v_error ->> 'message', v_error ->> 'hint');
  end if;

  -- Without the consent that the event needs, it was stored for no person; without that to personalization, it is not
  -- used.
  v_person_id := track.find_person(_send_feedback.person);
  return privacy.allowed(v_person_id, 'personalization')
    and privacy.allowed(
      v_person_id,
      (select event_type.purpose from track.event_type where event_type.name = v_event)
    );
end;
$$;

comment on function recommend._send_feedback(text, text, text, text, float8, text, text) is $$
@behavior -*
Checks an answer of a person and sends it as an event through `track.ingest`: see `recommend.feedback`.
`name_field`: `userId` or `anonymousId`.
$$;
