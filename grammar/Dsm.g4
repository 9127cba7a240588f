// The grammar of .dsm files. Newlines mean nothing but the end of a comment; statements need no separator, because no
// statement, entry or rule can begin with something that continues an expression. Words are keywords only where a
// statement or rule begins, or behind a complete operand of one, so every keyword may also be a name (`word`).
// Units are reserved. Expressions are written without left recursion, so that long sums stay flat in the parse tree.
grammar Dsm;

file: declaration* EOF;
loneValue: expr EOF;
loneIndex: sum EOF;                     // what stands in the braces of a stored name: "h.{2 * i + 1}.weight"

declaration: useDecl | functionDecl | moduleDecl | dataDecl | trainDecl | layoutDecl;

// ---- use

useDecl: K_USE (STRING | dotted) (K_AS word)?;
dotted: word (DOT word)*;

// ---- functions and modules

functionDecl: K_FUNCTION word formals (ASSIGN expr | body);
formals: LPAREN (formal (COMMA formal)*)? RPAREN;
formal: word word? (ASSIGN expr)?;

moduleDecl: K_MODULE word formals LBRACE moduleItem* RBRACE;
moduleItem: paramItem | axisItem | productItem | subItem | requireItem | forwardItem | exportItem;
paramItem: K_PARAM word COLON type ASSIGN expr (K_DECAY word)?;
axisItem: K_AXIS word ASSIGN expr;
productItem: K_PRODUCT word ASSIGN word (STAR word)+;
subItem: K_SUB word (LBRACK word RBRACK)? ASSIGN call;
requireItem: K_REQUIRE sum comparison sum;
forwardItem: K_FORWARD LPAREN (input (COMMA input)*)? RPAREN ARROW results body;
input: word COLON type;
results: type | LPAREN type (COMMA type)* RPAREN;
type: word? LBRACK (typeAxis (COMMA typeAxis)*)? RBRACK | word;
typeAxis: word | ELLIPSIS;

body: LBRACE statement* RBRACE;
statement: giveStatement | repeatStatement | assignStatement;
giveStatement: K_RETURN expr (COMMA expr)*;
repeatStatement: K_REPEAT names K_AS names body;
names: word | LPAREN word (COMMA word)* RPAREN;
assignStatement: target (COMMA target)* ASSIGN expr;

// ---- export

exportItem: K_EXPORT word LBRACE exportPart* RBRACE;
exportPart: architecturePart | configPart | ignorePart | exportLine;
architecturePart: K_ARCHITECTURE STRING;
configPart: K_CONFIG K_WRITTEN? LBRACE (configEntry (COMMA configEntry)* COMMA?)? RBRACE;
configEntry: configKey (K_OR configKey)* COLON expr;
configKey: word (DOT word)*;
ignorePart: K_IGNORE STRING (COMMA STRING)*;
exportLine: STRING (K_OR STRING)* ASSIGN argumentValue;

// ---- data and train

dataDecl: K_DATA LBRACE entry* RBRACE;
trainDecl: K_TRAIN LBRACE trainItem* RBRACE;
trainItem: checkpointItem | evaluateItem | entry;
entry: word ASSIGN expr;
checkpointItem: K_CHECKPOINT K_EVERY expr (K_TO STRING)? (K_KEEP expr)?;
evaluateItem: K_EVALUATE K_EVERY expr K_BATCHES expr;

// ---- layouts

layoutDecl: K_LAYOUT word (ASSIGN word)? LBRACE layoutRule* RBRACE;
layoutRule
    : meshRule | splitRule | zeroRule | microBatchRule | offloadRule | recomputeRule | wireRule | overlapRule | dropRule;
meshRule: K_MESH LPAREN (meshEntry (COMMA meshEntry)*)? RPAREN;
meshEntry: word COLON expr;
splitRule: K_SPLIT path (COMMA path)* K_OVER over K_ELSEWHERE? object?;
zeroRule: K_ZERO expr K_OVER over object?;
microBatchRule: K_MICRO_BATCH expr;
offloadRule: K_OFFLOAD word K_TO expr;
recomputeRule: K_RECOMPUTE expr (COMMA expr)*;
wireRule: K_WIRE expr;
overlapRule: K_OVERLAP expr;
dropRule
    : K_DROP K_SPLIT path (COMMA path)*
    | K_DROP K_ZERO K_OVER over
    | K_DROP K_OFFLOAD word
    | K_DROP K_RECOMPUTE
    ;
over: word (COMMA word)*;

// ---- expressions

expr: sum (comparison sum)?;
comparison: LESS | LESS_EQUAL | GREATER | GREATER_EQUAL | EQUAL | NOT_EQUAL;
sum: product ((PLUS | MINUS) product)*;
product: unary ((STAR | SLASH) unary)*;
unary: MINUS unary | power;
power: primary (CARET unary)?;
primary: number | STRING | pathOrCall | group | tuple | list | object;
number: (INT | REAL) UNIT?;
pathOrCall: path arguments?;
call: path arguments;
path: segment (DOT segment)*;
segment: word (LBRACK subscript RBRACK)?;
subscript: STAR | word COLON sum | sum (RANGE sum)?;
arguments: LPAREN (argument (COMMA argument)*)? RPAREN;
argument: (word COLON)? argumentValue;
argumentValue: expr (ARROW expr)? (K_AS list)?;
group: LPAREN word word+ RPAREN;
tuple: LPAREN expr (COMMA expr)* RPAREN;
list: LBRACK (expr (COMMA expr)*)? RBRACK;
object: LBRACE (objectEntry (COMMA objectEntry)* COMMA?)? RBRACE;
objectEntry: word COLON expr;

// ---- words

target: ID | laterKeyword | K_USE | K_FUNCTION | K_MODULE | K_DATA | K_TRAIN | K_LAYOUT;
word: target | K_RETURN | K_REPEAT;
laterKeyword
    : K_AS | K_PARAM | K_AXIS | K_PRODUCT | K_SUB | K_REQUIRE | K_FORWARD | K_EXPORT | K_DECAY | K_ARCHITECTURE
    | K_CONFIG | K_WRITTEN | K_IGNORE | K_OR | K_CHECKPOINT | K_EVERY | K_TO | K_KEEP | K_EVALUATE | K_BATCHES | K_MESH
    | K_SPLIT | K_OVER | K_ELSEWHERE | K_ZERO | K_MICRO_BATCH | K_OFFLOAD | K_RECOMPUTE | K_WIRE | K_OVERLAP | K_DROP
    ;

// ---- tokens

K_USE: 'use';
K_AS: 'as';
K_FUNCTION: 'function';
K_MODULE: 'module';
K_PARAM: 'param';
K_AXIS: 'axis';
K_PRODUCT: 'product';
K_SUB: 'sub';
K_REQUIRE: 'require';
K_FORWARD: 'forward';
K_EXPORT: 'export';
K_RETURN: 'return';
K_REPEAT: 'repeat';
K_DECAY: 'decay';
K_ARCHITECTURE: 'architecture';
K_CONFIG: 'config';
K_WRITTEN: 'written';
K_IGNORE: 'ignore';
K_OR: 'or';
K_DATA: 'data';
K_TRAIN: 'train';
K_CHECKPOINT: 'checkpoint';
K_EVERY: 'every';
K_TO: 'to';
K_KEEP: 'keep';
K_EVALUATE: 'evaluate';
K_BATCHES: 'batches';
K_LAYOUT: 'layout';
K_MESH: 'mesh';
K_SPLIT: 'split';
K_OVER: 'over';
K_ELSEWHERE: 'elsewhere';
K_ZERO: 'zero';
K_MICRO_BATCH: 'micro_batch';
K_OFFLOAD: 'offload';
K_RECOMPUTE: 'recompute';
K_WIRE: 'wire';
K_OVERLAP: 'overlap';
K_DROP: 'drop';

UNIT: 'KiB' | 'MiB' | 'GiB' | 'TiB' | 'GB/s' | 'us' | 'ms';
ID: [A-Za-z_] [A-Za-z0-9_]* | '1f1b';   // the pipeline schedule's name is the one word that begins with a digit
INT: [0-9]+;
REAL: [0-9]+ '.' [0-9]+ EXPONENT? | [0-9]+ EXPONENT;
fragment EXPONENT: [eE] [+-]? [0-9]+;
STRING: '"' (~["\\\r\n] | '\\' ~[\r\n])* '"';

LPAREN: '(';
RPAREN: ')';
LBRACK: '[';
RBRACK: ']';
LBRACE: '{';
RBRACE: '}';
COMMA: ',';
COLON: ':';
ELLIPSIS: '...';
RANGE: '..';
DOT: '.';
ARROW: '->';
ASSIGN: '=';
PLUS: '+';
MINUS: '-';
STAR: '*';
SLASH: '/';
CARET: '^';
LESS_EQUAL: '<=';
LESS: '<';
GREATER_EQUAL: '>=';
GREATER: '>';
EQUAL: '==';
NOT_EQUAL: '!=';

COMMENT: '//' ~[\r\n]* -> channel(HIDDEN);
SPACE: [ \t\r\n]+ -> skip;

// What is no token: each has a diagnostic of its own, so the lexer itself never fails.
BAD_NUMBER: [0-9]+ ('.' [0-9]+)? [A-Za-z_] [A-Za-z0-9_]*;
BAD_STRING: '"' (~["\\\r\n] | '\\' ~[\r\n])* '\\'?;
BAD_COMMENT: '/*';
UNKNOWN: .;
