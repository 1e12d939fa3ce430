//! Queries and expressions: what becomes of Flink's syntax in `sqlparser`'s nodes.

use sqlparser::ast::{
    BinaryOperator, DateTimeField, Expr, FunctionArg, FunctionArgOperator, FunctionArguments, JoinOperator, SelectItem,
    Spanned, TableFactor, TableVersion, Value,
};

use super::super::parse;
use super::{expr, query, select};

/// Checks that an expression parses to what prints as `expected`.
fn check(text: &str, expected: &str) {
    assert_eq!(expr(text).to_string(), expected, "{text}");
}

/// The first table of a query's `FROM`.
fn table(sql: &str) -> TableFactor {
    select(sql).from.remove(0).relation
}

#[test]
fn window_functions_take_table_arguments() {
    for (text, expected) in [
        (
            "TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)",
            "TUMBLE(__TABLE_ARG(t), DESCRIPTOR(ts), INTERVAL '10' SECOND)",
        ),
        (
            "hop(TABLE t, DESCRIPTOR(ts), INTERVAL '2' SECONDS, INTERVAL '1' HOUR)",
            "hop(__TABLE_ARG(t), DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '1' HOUR)",
        ),
        (
            "CUMULATE(TABLE `t`, DESCRIPTOR(ts), INTERVAL '2' MINUTE, INTERVAL '1' HOUR)",
            "CUMULATE(__TABLE_ARG(`t`), DESCRIPTOR(ts), INTERVAL '2' MINUTE, INTERVAL '1' HOUR)",
        ),
        (
            "SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '1' DAY)",
            "SESSION(__TABLE_ARG(t, __PARTITION_BY(k)), DESCRIPTOR(ts), INTERVAL '1' DAY)",
        ),
        (
            "SESSION(TABLE t PARTITION BY (k, l), DESCRIPTOR(ts), INTERVAL '1' DAY)",
            "SESSION(__TABLE_ARG(t, __PARTITION_BY(k, l)), DESCRIPTOR(ts), INTERVAL '1' DAY)",
        ),
        (
            "TUMBLE(TABLE default_catalog.default_database.t, DESCRIPTOR(ts), INTERVAL '1' DAY)",
            "TUMBLE(__TABLE_ARG(t), DESCRIPTOR(ts), INTERVAL '1' DAY)",
        ),
        (
            "TUMBLE(TABLE (SELECT * FROM t), DESCRIPTOR(ts), INTERVAL '1' DAY)",
            "TUMBLE(__TABLE_ARG((SELECT * FROM t)), DESCRIPTOR(ts), INTERVAL '1' DAY)",
        ),
        (
            "TUMBLE((SELECT * FROM t), DESCRIPTOR(ts), INTERVAL '1' DAY)",
            "TUMBLE(__TABLE_ARG((SELECT * FROM t)), DESCRIPTOR(ts), INTERVAL '1' DAY)",
        ),
        (
            "TUMBLE(DATA => TABLE t, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' DAY)",
            "TUMBLE(DATA => __TABLE_ARG(t), TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' DAY)",
        ),
    ] {
        let TableFactor::TableFunction { expr, alias } = table(&format!("SELECT * FROM TABLE({text}) AS w")) else {
            panic!("{text}")
        };
        assert_eq!(expr.to_string(), expected);
        assert_eq!(alias.unwrap().name.value, "w");
    }
}

#[test]
fn named_arguments_keep_their_operator() {
    let TableFactor::TableFunction { expr: Expr::Function(call), .. } =
        table("SELECT * FROM TABLE(TUMBLE(DATA => TABLE t, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' DAY))")
    else {
        panic!()
    };
    let FunctionArguments::List(list) = call.args else { panic!() };
    assert!(
        list.args.iter().all(|a| matches!(a, FunctionArg::Named { operator: FunctionArgOperator::RightArrow, .. }))
    );
    assert_eq!((call.name.0[0].span().start.line, call.name.0[0].span().start.column), (1, 21));
}

#[test]
fn group_windows_are_plain_calls() {
    let s = select("SELECT TUMBLE_START(ts, INTERVAL '1' MINUTE) FROM t GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE), k");
    assert_eq!(s.group_by.to_string(), "GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE), k");
}

#[test]
fn collections_and_access() {
    check("MAP['a', 1, 'b', x]", "MAP('a', 1, 'b', x)");
    check("map[]", "MAP()");
    check("ROW(1, 'a')", "ROW(1, 'a')");
    check("(a, b)", "(a, b)");
    check("m['k'].f[1 + 1]", "m['k'].f[1 + 1]");
    check("ARRAY[MAP[1, 2]][1]", "ARRAY[MAP(1, 2)][1]");
    assert!(matches!(expr("ARRAY[1, x]"), Expr::Array(a) if a.named && a.elem.len() == 2));
    assert!(matches!(expr("a[1]"), Expr::CompoundFieldAccess { .. }));
    assert!(matches!(expr("r.`a b`.interval"), Expr::CompoundIdentifier(parts) if parts.len() == 3));
    assert!(matches!(expr("f(x).y"), Expr::CompoundFieldAccess { .. }));
}

#[test]
fn json_functions_become_plain_calls() {
    check("x IS JSON", "IS_JSON(x, 'VALUE')");
    check("x IS NOT JSON OBJECT AND b", "NOT IS_JSON(x, 'OBJECT') AND b");
    check("x IS JSON SCALAR OR x IS JSON ARRAY", "IS_JSON(x, 'SCALAR') OR IS_JSON(x, 'ARRAY')");
    check("JSON_EXISTS(j, '$.a')", "JSON_EXISTS(j, '$.a', 'FALSE')");
    check("JSON_EXISTS(j, '$.a' ERROR ON ERROR)", "JSON_EXISTS(j, '$.a', 'ERROR')");
    check("json_exists(j, '$.a' unknown on error)", "JSON_EXISTS(j, '$.a', 'UNKNOWN')");
    check("JSON_VALUE(j, '$.a')", "JSON_VALUE(j, '$.a', 'NULL', NULL, 'NULL', NULL)");
    check(
        "JSON_VALUE(j, '$.a' RETURNING INT DEFAULT 0 + 1 ON EMPTY ERROR ON ERROR)",
        "JSON_VALUE(j, '$.a', 'DEFAULT', 0 + 1, 'ERROR', NULL, CAST(NULL AS __FLINK_TYPE(INT)))",
    );
    check("JSON_VALUE(j, '$.a' DEFAULT 'x' ON ERROR)", "JSON_VALUE(j, '$.a', 'NULL', NULL, 'DEFAULT', 'x')");
    check("JSON_VALUE(j, '$.a' NULL ON EMPTY)", "JSON_VALUE(j, '$.a', 'NULL', NULL, 'NULL', NULL)");
    check("JSON_QUERY(j, '$.a')", "JSON_QUERY(j, '$.a', 'WITHOUT', 'NULL', 'NULL')");
    check("JSON_QUERY(j, '$.a' WITH WRAPPER)", "JSON_QUERY(j, '$.a', 'UNCONDITIONAL', 'NULL', 'NULL')");
    check("JSON_QUERY(j, '$.a' WITHOUT ARRAY WRAPPER)", "JSON_QUERY(j, '$.a', 'WITHOUT', 'NULL', 'NULL')");
    check(
        "JSON_QUERY(j, '$.a' RETURNING ARRAY<STRING> WITH CONDITIONAL ARRAY WRAPPER EMPTY ARRAY ON EMPTY ERROR ON ERROR)",
        "JSON_QUERY(j, '$.a', 'CONDITIONAL', 'EMPTY ARRAY', 'ERROR', CAST(NULL AS __FLINK_TYPE(ARRAY<STRING>)))",
    );
    check("JSON_QUERY(j, '$.a' EMPTY OBJECT ON ERROR)", "JSON_QUERY(j, '$.a', 'WITHOUT', 'NULL', 'EMPTY OBJECT')");
    check("JSON_OBJECT()", "JSON_OBJECT('NULL')");
    check("JSON_OBJECT('a' VALUE 1, KEY b VALUE c ABSENT ON NULL)", "JSON_OBJECT('a', 1, b, c, 'ABSENT')");
    check("JSON_OBJECT(key VALUE 1 NULL ON NULL)", "JSON_OBJECT(key, 1, 'NULL')");
    check("JSON_OBJECT('a' VALUE JSON_ARRAY(1, NULL))", "JSON_OBJECT('a', JSON_ARRAY(1, NULL, 'ABSENT'), 'NULL')");
    check("JSON_ARRAY()", "JSON_ARRAY('ABSENT')");
    check("JSON_ARRAY(NULL ON NULL)", "JSON_ARRAY('NULL')");
    check("JSON_ARRAY(NULL, x NULL ON NULL)", "JSON_ARRAY(NULL, x, 'NULL')");
}

#[test]
fn intervals_of_every_form() {
    for (text, expected) in [
        ("INTERVAL '5' SECOND", "INTERVAL '5' SECOND"),
        ("INTERVAL -'5' DAY", "INTERVAL -'5' DAY"),
        ("INTERVAL '1 02:03:04' DAY TO SECOND(3)", "INTERVAL '1 02:03:04' DAY TO SECOND (3)"),
        ("INTERVAL '1-2' YEAR TO MONTH", "INTERVAL '1-2' YEAR TO MONTH"),
        ("INTERVAL '10:20' HOUR(2) TO MINUTE", "INTERVAL '10:20' HOUR (2) TO MINUTE"),
        ("INTERVAL '10.5' SECOND(2, 3)", "INTERVAL '10.5' SECOND (2, 3)"),
        ("INTERVAL '300' DAY(3)", "INTERVAL '300' DAY (3)"),
        ("INTERVAL '2' MONTHS", "INTERVAL '2' MONTH"),
        ("ts - INTERVAL '4' HOUR * 2", "ts - INTERVAL '4' HOUR * 2"),
    ] {
        check(text, expected);
    }
    let Expr::Interval(i) = expr("INTERVAL '1 02:03:04' DAY(2) TO SECOND(3)") else { panic!() };
    assert_eq!(
        (i.leading_field, i.leading_precision, i.last_field, i.fractional_seconds_precision),
        (Some(DateTimeField::Day), Some(2), Some(DateTimeField::Second), Some(3))
    );
}

#[test]
fn functions_with_words_inside() {
    for same in [
        "EXTRACT(HOUR FROM ts)",
        "FLOOR(ts TO HOUR)",
        "CEIL(ts TO MONTH)",
        "FLOOR(x)",
        "TRIM(BOTH 'x' FROM s)",
        "TRIM('x' FROM s)",
        "TRIM(s)",
        "CASE WHEN a LIKE 'x' THEN 'y' ELSE 'z' END",
        "SUBSTRING(s FROM 2 FOR 3)",
        "SUBSTRING(s, 2)",
        "OVERLAY(s PLACING 'x' FROM 2 FOR 1)",
        "PROCTIME()",
        "CURRENT_TIMESTAMP",
        "TIMESTAMPDIFF(SECOND, a, b)",
        "COUNT(DISTINCT x) FILTER (WHERE y > 1)",
        "LAG(x, 2) OVER (PARTITION BY a ORDER BY ts)",
        "SUM(x) OVER (ORDER BY ts RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW)",
        "LEFT(s, 3)",
        "a SIMILAR TO 'x' ESCAPE '!'",
        "a NOT LIKE '%!%' ESCAPE '!'",
        "a IS NOT UNKNOWN",
        "CASE WHEN a THEN 1 ELSE 2 END",
        "CASE x WHEN 1 THEN 'a' END",
        "a NOT BETWEEN 1 AND 2",
        "X'0AFF'",
        "TIMESTAMP '2020-01-01 00:00:00'",
        "EXISTS (SELECT 1 FROM u)",
        "a NOT IN (SELECT x FROM y)",
        "a IN (1, 2, NULL)",
        "(SELECT MAX(x) FROM y)",
        "'it''s'",
        "Foo(Bar)",
        "1.5E3",
        "a || b || 'c'",
    ] {
        check(same, same);
    }
    // So it is printed; `FROM` alone and no `FROM` are the same node.
    check("TRIM(LEADING FROM s)", "TRIM(LEADING s)");
    check("POSITION('a' IN s)", "POSITION('a' IN s)");
    check("U&'\\00e9'", "'é'");
    let Expr::Function(call) = expr("TIMESTAMPDIFF(SECOND, a, b)") else { panic!() };
    let FunctionArguments::List(list) = call.args else { panic!() };
    assert!(list.args[0].to_string() == "SECOND");
}

#[test]
fn is_distinct_from_ends_before_and() {
    assert!(matches!(expr("a IS DISTINCT FROM b AND c"), Expr::BinaryOp { op: BinaryOperator::And, .. }));
    assert!(matches!(expr("a IS NOT DISTINCT FROM b + 1 OR c"), Expr::BinaryOp { op: BinaryOperator::Or, .. }));
}

#[test]
fn tables_of_the_default_database_are_unqualified() {
    for from in
        ["t", "default_database.t", "default_catalog.default_database.t", "`default_catalog`.`default_database`.`t`"]
    {
        let TableFactor::Table { name, .. } = table(&format!("SELECT * FROM {from} AS x")) else { panic!("{from}") };
        assert_eq!(name.0.len(), 1);
        assert_eq!(name.0[0].as_ident().unwrap().value, "t");
    }
    // Columns, function arguments and the FROM of functions are no tables.
    let s = select(
        "SELECT t.a.b, EXTRACT(DAY FROM t.a), x IS DISTINCT FROM t.b FROM t JOIN u ON t.a = u.a, v CROSS JOIN UNNEST(t.tags) AS x (tag) WHERE t.c = u.d",
    );
    assert_eq!(s.from.len(), 2);
}

#[test]
fn hints_are_kept() {
    for from in ["t /*+ OPTIONS('a' = 'b', 'c'='d') */ AS x", "default_database.t /*+ options('a'='b','c' = 'd')*/ x"] {
        let TableFactor::Table { args, alias, .. } = table(&format!("SELECT * FROM {from} WHERE x.a > 1")) else {
            panic!("{from}")
        };
        let args: Vec<String> = args.unwrap().args.iter().map(ToString::to_string).collect();
        assert_eq!(args, ["'a' = 'b'", "'c' = 'd'"]);
        assert_eq!(alias.unwrap().name.value, "x");
    }
    let s =
        select("SELECT /*+ STATE_TTL('a'='1d'), BROADCAST(b) */ DISTINCT * FROM a /* no hint */ JOIN b ON a.id = b.id");
    assert_eq!(s.optimizer_hints.len(), 1);
    assert_eq!(s.optimizer_hints[0].text.trim(), "STATE_TTL('a'='1d'), BROADCAST(b)");
    assert!(s.distinct.is_some());
}

#[test]
fn joins_of_every_kind() {
    let s = select(
        "SELECT * FROM a JOIN b ON a.x = b.x LEFT JOIN c ON TRUE FULL OUTER JOIN d USING (x) CROSS JOIN e \
         LEFT JOIN LATERAL TABLE(f(a.x)) AS l(p, q) ON TRUE JOIN rates FOR SYSTEM_TIME AS OF a.ts AS r ON r.x = a.x",
    );
    let joins = &s.from[0].joins;
    assert_eq!(joins.len(), 6);
    assert!(matches!(joins[2].join_operator, JoinOperator::FullOuter(_)));
    assert!(matches!(joins[3].join_operator, JoinOperator::CrossJoin(_)));
    assert!(
        matches!(&joins[4].relation, TableFactor::Function { lateral: true, alias: Some(a), .. } if a.columns.len() == 2)
    );
    assert!(matches!(
        &joins[5].relation,
        TableFactor::Table {
            version: Some(TableVersion::ForSystemTimeAsOf(Expr::CompoundIdentifier(_))),
            alias: Some(_),
            ..
        }
    ));
    let TableFactor::UNNEST { alias, with_ordinality, .. } =
        select("SELECT * FROM t CROSS JOIN UNNEST(tags) WITH ORDINALITY AS x (tag, n)").from[0].joins[0]
            .relation
            .clone()
    else {
        panic!()
    };
    assert!(with_ordinality && alias.is_some());
}

#[test]
fn match_recognize_parses_with_within() {
    let TableFactor::MatchRecognize { symbols, pattern, measures, .. } = table(
        "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY u ORDER BY ts MEASURES A.ts AS s, LAST(B.p, 1) AS e ONE ROW PER MATCH \
         AFTER MATCH SKIP TO LAST B PATTERN (A B+ C? D{2,3} E*? (F | G)) WITHIN INTERVAL '1' HOUR DEFINE A AS A.p > 1, B AS B.p < 2) AS m",
    ) else {
        panic!()
    };
    assert_eq!(
        symbols.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["__WITHIN AS INTERVAL '1' HOUR", "A AS A.p > 1", "B AS B.p < 2"]
    );
    assert_eq!(measures.len(), 2);
    assert!(pattern.to_string().starts_with("A B+ C? D{2,3}"));
}

#[test]
fn queries_of_every_shape() {
    for sql in [
        "SELECT a, COUNT(*) AS n FROM t GROUP BY GROUPING SETS ((a, b), (a), ()) HAVING COUNT(*) > 1",
        "SELECT a FROM t GROUP BY CUBE (a, b)",
        "SELECT a FROM t GROUP BY ROLLUP (a, b)",
        "SELECT a FROM (VALUES (1, 'a'), (2, 'b')) AS t (x, y)",
        "SELECT a FROM t UNION ALL SELECT b FROM u EXCEPT SELECT c FROM v",
        "SELECT a FROM t INTERSECT ALL SELECT b FROM u",
        "SELECT * FROM t ORDER BY a DESC NULLS LAST, b LIMIT 10 OFFSET 5",
        "SELECT * FROM t ORDER BY a FETCH FIRST 3 ROWS ONLY",
        "WITH a AS (SELECT 1 AS x), b AS (SELECT * FROM a) SELECT * FROM b",
        "SELECT SUM(x) OVER w FROM t WINDOW w AS (PARTITION BY a ORDER BY ts ROWS BETWEEN 5 PRECEDING AND CURRENT ROW)",
        "SELECT * FROM (SELECT * FROM (SELECT a FROM t) AS i) AS o",
        "SELECT t.* FROM t",
    ] {
        assert_eq!(query(sql).to_string(), sql);
    }
    assert_eq!(parse("(SELECT 1) UNION (SELECT 2)").unwrap().len(), 1);
    assert_eq!(parse("SELECT * FROM ((a JOIN b ON a.x = b.x) JOIN c ON TRUE)").unwrap().len(), 1);
}

#[test]
fn identifiers_keep_their_case_and_odd_letters() {
    let s = select("SELECT UserId, `a``b`, $x, EXPR$0, größe, `select` FROM `my-table`");
    let names: Vec<String> = s
        .projection
        .iter()
        .map(|item| match item {
            SelectItem::UnnamedExpr(Expr::Identifier(i)) => i.value.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["UserId", "a`b", "$x", "EXPR$0", "größe", "select"]);
}

#[test]
fn words_of_other_dialects_are_names() {
    let s = select("SELECT top, format, ilike pivot, qualify FROM sample AS settings JOIN asof ON TRUE");
    assert_eq!(s.projection.len(), 4);
    assert_eq!(s.from[0].joins.len(), 1);
}

#[test]
fn strings_have_no_backslash_escapes() {
    let Expr::Value(v) = expr(r"'a\n''b\'") else { panic!() };
    assert_eq!(v.value, Value::SingleQuotedString(r"a\n'b\".into()));
}

#[test]
fn redundant_parentheses_around_subqueries_are_dropped() {
    for from in ["(SELECT a FROM u) AS x", "((SELECT a FROM u)) AS x", "((((SELECT a FROM u)))) AS x"] {
        let s = select(&format!("SELECT * FROM t, {from} WHERE a > (((1)))"));
        assert_eq!(s.from[1].to_string(), "(SELECT a FROM u) AS x");
    }
    check("a IN ((SELECT x FROM y))", "a IN (SELECT x FROM y)");
    check("a NOT IN (((SELECT x FROM y)))", "a NOT IN (SELECT x FROM y)");
    check("a IN ((1), ((2)))", "a IN ((1), ((2)))");
    for same in [
        "SELECT * FROM ((SELECT 1) UNION (SELECT 2)) AS x",
        "SELECT * FROM ((SELECT 1) AS a JOIN t ON a.x = t.x)",
        "SELECT * FROM (((SELECT 1) UNION (SELECT 2)) EXCEPT (SELECT 3)) AS x",
    ] {
        assert_eq!(query(same).to_string(), same);
    }
}
