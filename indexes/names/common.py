"""Words that are written with a capital letter and yet are no person's name, or that carry no meaning of their own.

Kept short on purpose: a word that is missing here costs a little precision, never a hit.
"""

FUNCTION_WORDS = frozenset(
    """
    a about above across after again against all almost also although always am among an and another any anyone are as
    ask at back be because been before being below between both but by came can cannot could did do does doing done
    down during each either else even ever every few for from further gave get gets give given go goes had has have
    having he her here hers herself him himself his how however i if in into is it its itself just kindly knew know
    known let like made make makes many may me might mine more most much must my myself name named near need never no
    nor not now of off often on once one only or other our ours out over own per please put quite rather really same
    say says see she should since so some someone such take tell than that the their theirs them themselves then there
    these they this those though through throughout thus to together too toward towards under until up upon us use
    used using very via was we well were what whatever when where whether which while who whoever whom whose why will
    with within without would yes yet you your yours
    """.split()
)
"""English words that say nothing about what a text is about."""

STARTERS = FUNCTION_WORDS | frozenset(
    """
    according add additionally analyze answer apart are aside beside besides briefly choose compare complete concerning
    considering consider could create decode define describe despite detail discuss do does draft elaborate enumerate
    examine explain express finally find finish following furthermore generate given hello help hey hi identify
    imagine in indicate instead is list looking mention meanwhile moreover name next note outline pick point
    pretend provide question quote read recall reflect regarding remember repeat reply respond reveal select share show
    similarly speaking specify state still suggest summarise summarize suppose surely talk thanks thank then today
    translate true try unlike want was were write wrote author writer book born dear sir madam mr mrs ms miss dr prof
    professor president king queen saint st
    """.split()
)
"""Words that stand at the start of a sentence, with a capital for no other reason, and titles before a name."""

PARTICLES = frozenset(
    """
    al el ul ad as ash an at az bin ben ibn bint abu da das de del della der des di do dos du la las le les los
    ter ten van von vom y e zu zum af av of the
    """.split()
)
"""Small words inside names, left out when names are compared: people drop them and languages change them."""

JOINERS = PARTICLES - frozenset("an as at e y of the do".split())
"""Particles that, in small letters between two capitalised words, show one name."""

PLACE_SIGNS = frozenset("in at near from around across outside inside".split())
"""Before a capitalised run that is not somebody's ("in Hina Ameen's books"), a sign of a place, not of a person."""

THING_SIGNS = frozenset("the a an my your his her its our their".split())
"""Before a capitalised run, a sign of a thing: nobody is called "the Ilse Varga"."""

NOT_PERSONS = frozenset(
    """
    january february march july september october november december monday tuesday wednesday
    thursday friday saturday sunday christmas easter ramadan hanukkah
    president academy act age agency airport alliance american ancient archive army arts asian association award
    awards avenue
    battle bible board british building bureau business canal cape cathedral centre
    center century chapter city civil club coast college committee commission company constitution conference
    congress corporation council county court creek crime crown cup department desert district division
    dynasty earth east eastern empire european express falls federal federation festival fiction film
    first fort foundation fund gallery game games garden gate general global grand great group gulf
    guild harbour harbor high hills history hospital hotel house human institute international island
    islands journal kingdom language league library lights limited line literary literature lower
    magazine market medal memorial middle minister ministry monument mosque mount mountain mountains movement
    museum music national native nations new news northern novel ocean office official old olympic olympics
    opera order organisation organization palace parliament party peninsula people peace planet plaza port
    press prize province public quarter radio railway red reef region religion renaissance republic revolution
    river road romance royal second school science senate series service society south southern space
    special square stadium state states station statue street studies team telescope temple theatre theater
    third tour tower town treaty tribune true truth union united university upper valley village war
    water western white woman women world
    africa african afghanistan afghan albania albanian algeria algerian amazon america angola antarctica arab arabia
    arabic arctic argentina argentine armenia armenian asia athens atlantic australia australian austria austrian
    azerbaijan baghdad bahrain bangkok bangladesh bangladeshi barcelona beijing beirut belgian belgium berlin bogota
    bolivia bolivian bombay bosnia boston botswana brazil brazilian britain brussels budapest buddhist bulgaria
    bulgarian cairo california cambodia cameroon canada canadian caribbean catholic chicago chile chilean china
    chinese christian christianity colombia colombian congo copenhagen croatia croatian cuba cuban cyprus czech
    damascus danish delhi denmark dominican dubai dublin dutch ecuador egypt egyptian england estonia estonian
    ethiopia ethiopian europe fiji filipino finland finnish florida france german germany ghana ghanaian
    greece greek guatemala haiti hebrew helsinki himalayas hindi hindu hispanic hollywood honduras hungarian hungary
    iceland icelandic india indian indies indonesia indonesian iran iranian iraq iraqi ireland irish islam islamic
    israel israeli istanbul italian italy jakarta jamaica jamaican japan japanese jerusalem jewish jordanian
    karachi kazakh kazakhstan kazakhstani kenya kenyan kiev kong korea korean kurdish kuwait kuwaiti kyiv laos latin
    latino latvia lebanese lebanon lgbtq liberia libya lisbon lithuania london los angeles madrid malaysia malaysian
    manama manila mediterranean melbourne mexican mexico milan moldova monaco mongolia mongolian morocco moroccan
    moscow mumbai munich muslim myanmar nairobi nepal nepalese netherlands nicaragua niger nigeria nigerian nordic
    norway norwegian oslo ottoman pacific pakistan pakistani palestine palestinian panama paraguay paris persian peru
    peruvian philippine philippines poland polish polynesian portugal portuguese prague qatar roma roman romania
    romanian rome russia russian rwanda santiago saudi scandinavian scotland scottish seattle senegal seoul serbia
    serbian shanghai siberia sicily singapore slovak slovakia slovenia somali somalia soviet spain spanish sri lanka
    stockholm sudan sudanese swahili sweden swedish swiss switzerland syria syrian taipei taiwan taiwanese
    tanzania tehran texas thai thailand tibet tokyo toronto tunisia tunisian turkey turkish uganda ukraine ukrainian
    uruguay usa venezuela venezuelan venice victorian vienna vietnam vietnamese wales warsaw washington welsh yemen
    york yugoslavia zambia zealand zimbabwe zurich
    """.split()
)
"""Capitalised words of places, peoples, languages, times and institutions: a run that holds one is not a person."""

MONTHS = {
    month: number
    for number, names in enumerate(
        (
            "january jan januar janvier enero gennaio janeiro января январь يناير जनवरी",
            "february feb februar février fevrier febrero febbraio fevereiro февраля февраль فبراير फरवरी फ़रवरी",
            "march mar märz maerz mars marzo março марта март مارس मार्च",
            "april apr avril abril aprile апреля апрель أبريل ابريل अप्रैल",
            "may mai mayo maggio maio мая май مايو मई",
            "june jun juni juin junio giugno junho июня июнь يونيو जून",
            "july jul juli juillet julio luglio julho июля июль يوليو जुलाई",
            "august aug août aout agosto августа август أغسطس اغسطس अगस्त",
            "september sep sept septembre septiembre settembre setembro сентября сентябрь سبتمبر सितंबर सितम्बर",
            "october oct oktober octobre octubre ottobre outubro октября октябрь أكتوبر اكتوبر अक्टूबर अक्तूबर",
            "november nov novembre noviembre novembro ноября ноябрь نوفمبر नवंबर नवम्बर",
            "december dec dezember décembre decembre diciembre dicembre dezembro декабря декабрь ديسمبر दिसंबर दिसम्बर",
        ),
        1,
    )
    for month in names.split()
}
"""Months by name, so that 06/30/1975 and June 30, 1975 are the same date."""

NICKNAMES = {
    short: full
    for full, shorts in (
        line.split(":")
        for line in """
        abigail:abby alexander:alex,sasha,alec andrew:andy,drew anthony:tony benjamin:ben,benny catherine:cathy,kate
        charles:charlie,chuck christopher:chris daniel:dan,danny david:dave deborah:debbie donald:don
        edward:ed,eddie,ted
        elizabeth:liz,beth,betty,eliza frederick:fred,freddie gregory:greg harold:harry henry:hank jacob:jake
        james:jim,jimmy jennifer:jen,jenny john:johnny,jack jonathan:jon joseph:joe,joey kenneth:ken lawrence:larry
        leonard:len,leo margaret:maggie,meg,peggy matthew:matt michael:mike,mick mikhail:misha nicholas:nick
        nikolai:kolya pamela:pam patricia:pat,patty,trish patrick:paddy peter:pete philip:phil rebecca:becky
        richard:rick,dick,rich robert:bob,rob,bobby ronald:ron samantha:sam samuel:sammy stephen:steve susan:sue
        theodore:theo,teddy thomas:tom,tommy timothy:tim victoria:vicky vladimir:volodya walter:walt
        william:will,bill,billy zachary:zack
        """.split()
    )
    for short in shorts.split(",")
}
"""Short forms and the given name that they stand for."""
