-- What a filter finds.
-- $1 queue or NULL  $2 kind or NULL  $3 state[] or NULL  $4 with a higher id  $5 key or NULL  $6 a part of the error or
-- NULL  $7 enqueued more ms ago, or NULL  $8 the path of a value in the payload or NULL  $9 the value, as text
-- $10 whether to pass over running jobs whose end was asked for  $11 id[] or NULL.
-- Index: the primary keys, merged; a filter that few jobs pass walks far. Of tables whose state is not asked for nothing
-- is read.
WHERE j.id > $4::bigint AND ($11::bigint[] IS NULL OR j.id = ANY ($11))
  AND ($1::text IS NULL OR j.queue = $1) AND ($2::text IS NULL OR j.kind = $2)
  AND ($3::text[] IS NULL OR j.state = ANY ($3))
  AND ($5::text IS NULL OR j.key = $5)
  AND ($6::text IS NULL OR strpos(j.error, $6) > 0)
  AND ($7::bigint IS NULL OR j.enqueued_at < (SELECT clock_timestamp()) - $7 * interval '1 ms')
  AND CASE
      WHEN $8::text IS NULL THEN true
      -- JSON may hold what is no text to Postgres (U+0000, half a surrogate pair): the whole look would fail at it.
      WHEN j.payload::text ~ '\\u(0000|[dD][89abAB]..(?!\\u[dD][c-fC-F]))|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]'
          THEN false
      ELSE j.payload #>> string_to_array($8, '.') = $9::text
  END
  AND NOT ($10::boolean AND j.state = 'running' AND EXISTS (
      SELECT FROM headcount.running a WHERE a.id = j.id AND a.cancel_at IS NOT NULL
  ))
