package mysqltext

import (
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// statement is one statement's tokens.
type statement struct {
	*scratch
	tokens []token // without the semicolon
}

// name returns the name or word that a token is, without quotes.
func (s *statement) name(t token) string {
	written := s.written(t)
	switch t.kind {
	case tokQuoted:
		return unquote(written, false)
	case tokUserVar:
		switch written[1] {
		case '`':
			return unquote(written[1:], false)
		case '\'', '"':
			return unquote(written[1:], !s.opt.NoBackslashEscapes)
		}
		return string(written[1:])
	}
	return string(written)
}

// charsets are the character sets that an introducer (_utf8mb4'…') may name.
var charsets = set(`armscii8 ascii big5 binary cp1250 cp1251 cp1256 cp1257 cp850 cp852 cp866 cp932 dec8 eucjpms euckr gb18030
	gb2312 gbk geostd8 greek hebrew hp8 keybcs2 koi8r koi8u latin1 latin2 latin5 latin7 macce macroman sjis swe7 tis620 ucs2
	ujis utf16 utf16le utf32 utf8 utf8mb3 utf8mb4`)

// halfCharsets are those in which a backslash or a quote may be half a letter.
var halfCharsets = set("big5 cp932 gb18030 gbk sjis")

func set(words string) map[string]bool {
	found := make(map[string]bool)
	for _, word := range strings.Fields(words) {
		found[word] = true
	}
	return found
}

// introduces returns the character set that token i gives to the literal behind
// it, "" where it does not.
func (s *statement) introduces(i int) string {
	t := s.tokens[i]
	if t.kind != tokWord || t.named || t.dotted || i+1 >= len(s.tokens) || s.text[t.start] != '_' {
		return ""
	}
	switch s.tokens[i+1].kind {
	case tokString, tokHex, tokBits:
	default:
		return ""
	}
	name := strings.ToLower(string(s.written(t)[1:]))
	if !charsets[name] || name == "gb18030" && s.opt.MariaDB {
		return ""
	}
	return name
}

// write appends the statement as the parser must see it, so that it cannot be
// read in two ways: no comments, one space between tokens, names in backquotes
// where they might be taken for key words. With neutral, literals have no
// values.
func (s *statement) write(dst []byte, neutral bool) ([]byte, refusal) {
	for i := 0; i < len(s.tokens); i++ {
		t := s.tokens[i]
		switch t.kind {
		case tokString:
			value := stringValue(s.written(t), s.opt)
			for i+1 < len(s.tokens) && s.tokens[i+1].kind == tokString && !s.dated(i) {
				i++
				value += stringValue(s.written(s.tokens[i]), s.opt)
			}
			if neutral {
				value = neutralString
			}
			dst = append(appendString(dst, value), ' ')
		case tokWord:
			if set := s.introduces(i); set != "" {
				if halfCharsets[set] {
					return nil, refusedCharset
				}
				continue
			}
			if s.word(t, "sounds") && s.keyword(i+1) == "like" {
				dst = append(dst, "= "...) // the parser does not know it, and it is a comparison
				i++
				continue
			}
			dst = s.writeWord(dst, i)
		case tokQuoted:
			dst = append(appendName(dst, s.name(t)), ' ')
		case tokUserVar:
			dst = append(appendName(append(dst, '@'), s.name(t)), ' ')
		case tokNull:
			dst = append(dst, "NULL "...)
		case tokOp:
			dst = s.writeOperator(dst, i)
		default:
			dst = append(s.writeLiteral(dst, t, neutral), ' ')
		}
		if len(dst) > maxParsed {
			return nil, refusedSize
		}
	}
	return dst, ""
}

// dated reports whether string i is that of DATE '…', which is one string: one
// behind it is an alias.
func (s *statement) dated(i int) bool {
	return i > 0 && (s.word(s.tokens[i-1], "date") || s.word(s.tokens[i-1], "time") || s.word(s.tokens[i-1], "timestamp"))
}

func (s *statement) writeLiteral(dst []byte, t token, neutral bool) []byte {
	if neutral {
		switch t.kind {
		case tokInteger:
			return append(dst, '1')
		case tokNumber:
			return append(dst, "1.5"...)
		case tokHex:
			return append(dst, "x'00'"...)
		case tokBits:
			return append(dst, "b'0'"...)
		}
	}
	return append(dst, s.written(t)...)
}

// apart are functions that are the server's own only where the bracket stands
// directly behind the name.
var apart = set(`adddate bit_and bit_or bit_xor cast count cume_dist curdate curtime date_add date_sub dense_rank extract
	first_value group_concat json_arrayagg json_objectagg lag last_value lead max median mid min now nth_value ntile
	percent_rank percentile_cont percentile_disc position rank row_number session_user st_collect std stddev stddev_pop
	stddev_samp subdate substr substring sum sysdate system_user trim variance var_pop var_samp`)

// standsApart reports whether word i is such a function's name with a bracket
// further on. It is then a name like any other.
func (s *statement) standsApart(i int) bool {
	return i+1 < len(s.tokens) && s.op(s.tokens[i+1], '(') && !s.joined(i+1) && apart[strings.ToLower(string(s.written(s.tokens[i])))]
}

// joined reports whether bracket i makes a call of the word before it.
func (s *statement) joined(i int) bool {
	return s.touches(s.tokens[i]) && s.tokens[i-1].kind == tokWord
}

// parserNames are what the parser calls functions that have another name.
var parserNames = map[string]string{"char_func": "char", "insert_func": "insert", "default_func": "default", ast.JSONMemberOf: "member of"}

// strangers are the names of the server's own functions that the statement
// gives, in quotes or apart from their bracket, in a way that may mean stored
// ones, and names that are only the parser's.
func (s *statement) strangers() []string {
	var found []string
	for i, t := range s.tokens {
		quoted := t.kind == tokQuoted && i+1 < len(s.tokens) && s.op(s.tokens[i+1], '(')
		if _, parsers := parserNames[fold(s.name(t))]; parsers && (t.kind == tokWord || t.kind == tokQuoted) {
			found = append(found, fold(s.name(t)))
		}
		if quoted || t.kind == tokWord && s.standsApart(i) {
			found = append(found, fold(s.name(t)))
		}
	}
	return found
}

func (s *statement) writeWord(dst []byte, i int) []byte {
	t, word := s.tokens[i], string(s.written(s.tokens[i]))
	bare := !t.named && !t.dotted && plainWord(word) && !s.opt.parsersOwn(word) && !s.standsApart(i) && word[0] != '_'
	if i > 1 && s.tokens[i-2].kind == tokSysVar && s.op(s.tokens[i-1], '.') {
		bare = true
	}
	if !bare {
		return append(appendName(dst, word), ' ')
	}
	return append(append(dst, word...), ' ')
}

func (s *statement) writeOperator(dst []byte, i int) []byte {
	written := s.written(s.tokens[i])
	switch {
	case s.op(s.tokens[i], '.'):
		return append(trimSpace(dst), '.')
	case s.op(s.tokens[i], '(') && i > 0 && s.joined(i):
		return append(trimSpace(dst), "( "...)
	case string(written) == "||" && !s.opt.PipesAsConcat:
		return append(dst, "OR "...)
	}
	return append(append(dst, written...), ' ')
}

// neutralString stands for any string. Nothing that is named so by mistake has
// a name that is known (resultName).
const neutralString = "\x01"

func trimSpace(dst []byte) []byte {
	if n := len(dst); n > 0 && dst[n-1] == ' ' {
		return dst[:n-1]
	}
	return dst
}

// plainWord reports whether a word may be a key word at all.
func plainWord(word string) bool {
	for i := range len(word) {
		c := word[i]
		if classOf[c]&letterByte == 0 && c != '_' && (classOf[c]&digitByte == 0 || i == 0) {
			return false
		}
	}
	return true
}

// Key words of the parser's that the servers do not have.
var (
	parserWords = set(`add_columnar_replica_on_demand advise affinity ago apply auto_id_cache auto_random auto_random_base backend
		backups batch bdr bernoulli binding bindings binding_cache builtins calibrate cancel capture cardinality causal
		checksum_concurrency cleanup client_errors_summary cluster clustered cmsketch columnar column_stats_usage
		compression_level compression_type concurrency config consistency correlation csv_backslash_escape csv_delimiter
		csv_header csv_not_null csv_null csv_separator csv_trim_last_separators ddl dependency depth digest distribute
		distribution distributions dry encryption_keyfile encryption_method evolve explore histograms_in_flight hypo
		ietf_quotes ignore_stats ilike imports incremental job jobs labels last_backup lite load_stats masking max_idxnum
		max_minutes mb ndvrate node_id node_state nonclustered oltp_read_only oltp_read_write oltp_write_only on_duplicate
		optimistic page_compressed page_compression_level pause percent per_db per_table pessimistic point policies policy
		pre_split_regions queries rate_limit recommend refresh region regions restores rule run samplerate samples san
		send_credentials_to_tikv session_states shard_row_id_bits skip_schema_files split statistics stats stats_buckets
		stats_col_choice stats_col_list stats_delta stats_extended stats_healthy stats_histograms stats_locked stats_meta
		stats_options stats_sample_rate stats_topn strict_format tablesample tidb tidb_current_tso tiflash tikv_importer
		timeout token_issuer topn tpcc tpch_10 trace traditional tso ttl ttl_enable ttl_job_interval unset vector
		wait_tiflash_ready width with_sys_table workload`)
	mysqlWords = set(`array attribute buckets compression encryption enforced engine_attribute failed_login_attempts groups
		histogram instance lateral member nulls optional password_lock_time resource respect secondary secondary_engine
		secondary_engine_attribute secondary_load secondary_unload`)
)

// parsersOwn reports whether a word is a key word for the parser and none for
// the server.
func (opt Options) parsersOwn(word string) bool {
	word = strings.ToLower(word)
	return parserWords[word] || opt.MariaDB && mysqlWords[word]
}
