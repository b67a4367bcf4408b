"""Words that may stand for each other, because no polarity, amount or direction hangs on the choice.

Groups are parted by `|`. A word may be in several (a pound is money or a weight), and groups do not run together: "last"
may stand for "final" or "previous", but those two never for each other. `_` joins words of a phrase. Kept apart on
purpose, because answers differ: refund and exchange, reset and change, sign up and log in, delete and deactivate,
debit and credit, mail and email, join and merge, password and passcode.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

__all__ = ["groups_of", "phrases"]

_GROUPS = """
get obtain receive acquire request ask_for | get fetch retrieve | get become | get buy | receive accept | order request
buy purchase | make book | sell vend | send ship | ship deliver | mail post | send submit
submit make file lodge raise put_in | offer provide supply | give provide grant | keep retain | keep store save | put place
join enroll register sign_up signup | log_in sign_in log_on | log_in login signin logon log_into sign_into
log_out sign_out log_off logout signoff | unsubscribe opt_out | opt_in optin | create make generate produce
create make build construct | create set_up setup | build assemble put_together | write draft compose | set_up setup configure |
install set_up setup
change modify update edit alter amend adjust | change switch | change correct | delete remove erase get_rid_of
delete clear wipe | remove take_off take_out | remove uninstall | cancel terminate end call_off | end finish complete conclude
begin start commence | start launch kick_off | launch open | run execute | stop halt cease | quit exit close | fix repair mend
fix resolve solve correct sort_out rectify | fix troubleshoot | break damage | break_down stop_work
verify check confirm validate | check view see look_at inspect | check look_up find_out | check examine
view display show see | find locate | find discover | find search look_for | choose select pick | use utilize employ utilise
use work_with | work_with compatible | improve increase boost raise | help assist support | help assistance
explain describe clarify | allow permit let | need require | need necessary mandatory compulsory obligatory essential
include come_with contain | include cover | move transfer shift | move relocate | send transfer | copy duplicate | copy clone
enable activate turn_on switch_on | disable deactivate turn_off switch_off | increase raise boost grow | increase go_up rise
decrease reduce lower cut bring_down | decrease drop fall go_down decline | improve enhance | improve optimize boost
speed_up accelerate quicken | slow_down decelerate | clean wash | cook prepare make | eat consume | drink consume
talk speak chat | talk contact speak_to | contact reach get_in_touch get_hold_of | call phone ring | call name
answer reply respond response | ask inquire enquire | happen occur take_place | learn study | teach instruct | know tell
understand comprehend grasp make_sense_of | compare contrast | differ vary
calculate compute work_out figure_out determine find | estimate approximate | count tally | add include | add insert
add append | add attach | connect link hook_up pair | divide split | share distribute | track follow trace | track monitor
monitor watch | manage handle administer deal_with | manage control | protect secure safeguard
recover restore get_back regain retrieve | return send_back give_back bring_back take_back | return come_back go_back
reimburse refund | refund money_back | replace substitute swap | exchange swap | extend prolong lengthen
delay postpone defer put_off push_back | reschedule rebook move | arrange organize schedule | arrange book
book reserve schedule | booking reservation | departure leave depart | arrive reach | arrival arrive | go travel get | go head
travel trip journey travelling | visit go_to | stay remain | live reside | hire rent | hire recruit employ | dismiss fire sack
resign quit | decline reject refuse turn_down | refuse deny | accept agree | approve authorize | upgrade move_up | owe due
invest investment | pay settle | pay cost | save put_aside | spend pay | lose misplace | lost missing
steal theft stolen nick | broken faulty damaged defective | work function operate | operate run
perform carry_out do_exercise | implement develop build | develop create | convert transform change turn | translate convert
print output | result output | iterate loop traverse go_through | sort order | merge combine | deploy release ship publish
roll_back rollback revert go_back | undo revert | sync synchronize synchronise | backup back_up | reboot restart
crash freeze hang | gain get | try attempt | try test | suggest recommend advise | recommendation suggestion advice
discuss talk_about | want wish | like enjoy | hurt ache pain | treat remedy | prevent avoid | prevent stop | avoid stay_away
kid child youngster | infant baby newborn | flat apartment | landlord lessor | lawyer attorney solicitor | doctor physician gp
person individual people human | employee worker | employee staff | boss manager | company firm business
company organization | employer company | colleague coworker teammate | customer client | shop store | grocery supermarket
product item goods | thing item | problem issue trouble difficulty | problem fault | fault error | bug defect | error mistake
error failure | reason cause | cause trigger lead_to result_in | result outcome | effect consequence impact
affect influence impact | purpose goal aim objective | benefit advantage pro upside perk | drawback disadvantage con downside
feature capability | method technique | method way | guide tutorial | instruction direction guide | rule regulation |
law legislation
legal lawful allowed permitted | illegal unlawful | policy rule | condition term | requirement prerequisite | option choice
alternative substitute replacement | type kind sort category variety | example instance sample | part piece component section
amount quantity sum | amount number | total overall | number quantity count | price cost charge fee
expensive costly pricey dear | cheap inexpensive low_cost affordable
free complimentary free_of_charge at_no_cost for_nothing | discount reduction deal | discount_code promo_code coupon voucher
bill invoice | salary pay wage | earnings income | money cash | money fund | delivery shipping shipment | shipping postage
package parcel | parcel delivery | courier carrier | email email_address | postcode zip_code postal_code | phone telephone
phone mobile cell cellphone smartphone | mobile_phone mobile cell_phone phone | phone_number number | computer pc machine
laptop notebook | tv television | program application app software | website site web_page webpage web_site
online on_the_internet over_the_internet web internet | folder directory | file document | paperwork document papers
doc document | picture photo image photograph pic | film movie | clip video | song track | username user_name
id identification identifier | id identity | fill_in fill_out complete | bring bring_along | avoid stay_away_from |
admin administrator | database db | repository repo | message msg | notification alert
setting preference option | configuration setting config | parameter argument | screen display | link url | address location
location place spot | place area region | city town | street road | car vehicle auto automobile | car_park parking_lot
truck lorry | bike bicycle cycle | plane airplane aircraft | subway metro underground tube | train rail | baggage luggage bag
suitcase luggage | meal dish food | restaurant eatery | takeaway takeout take_away take_out | drink beverage | alcohol booze
elevator lift | toilet restroom bathroom loo washroom | trash garbage rubbish waste | bin trash_can | couch sofa
fridge refrigerator | stove cooker hob | tap faucet | garden yard | autumn fall | queue line | cv resume | job position role
job occupation work profession | vacancy opening job_opening | course class lesson | course module | test exam examination
degree qualification | certificate certification | university uni | math maths mathematics | student pupil
teacher instructor tutor | medicine medication drug | tablet pill | illness disease sickness | sick ill unwell | injury wound
injection jab shot vaccine vaccination | symptom sign | treatment therapy remedy | dose dosage | side_effect adverse_effect
fever high_temperature | healthy nutritious | diet nutrition | workout exercise | big large | bigger larger | biggest largest
huge enormous massive gigantic | small little tiny | fast quick rapid speedy quickly | faster quicker | fastest quickest
soon shortly | slow sluggish | easy simple straightforward | easier simpler | easiest simplest
hard difficult tough challenging | harder tougher | important significant | important crucial vital essential critical
main primary principal major chief key | good great decent | best ideal optimal top | better preferable | bad poor
dangerous hazardous unsafe risky | harmful damaging bad | safe secure ok | right correct proper | wrong incorrect
exact precise | accurate correct | true correct | real genuine authentic | fake counterfeit | previous earlier prior last
last final | latest newest recent | current present existing | now currently | next following | next upcoming | first initial
original initial | whole entire all full | complete entire full | often frequently regularly | usual typical normal common
usually normally typically generally | normal standard regular ordinary | common popular frequent | popular famous well_known
rare uncommon | strange weird odd unusual | special particular specific | several multiple many various | many lot plenty
much lot | extra additional more further | another additional extra | different other another alternative | same identical
equal same | enough sufficient | maximum most highest largest max | minimum least lowest smallest min | average mean
average typical | approximately about around roughly | almost nearly | near close nearby | nearest closest | through via |
until till
because due since | after following once | before prior | under below beneath less_than | over above more_than
within inside in_under | without no | not no | not never | not without | instead rather | also additionally
in_person face_to_face | automatic automatically auto | manual manually by_hand | daily each_day | weekly each_week
monthly each_month | hourly each_hour | yearly each_year annual annually | tonight evening
deadline due_date cutoff | expiry expiration expire run_out | duration length period | period term | time period | old age
birthday date_of_birth birth_date birthdate | die death | marry married marriage | wedding marriage | wife spouse
husband spouse | parent guardian | author writer write wrote written | invent invention inventor | found establish set_up
ceo chief_executive | leader head boss | president head_of_state | population inhabitant | distance far
opening_hour hour opening_time open_hour business_hour hour_of_operation | code source_code | script program | program code
programming coding | input entry | string text | dictionary dict | integer int | boolean bool | javascript js | typescript ts
postgresql postgres | kubernetes k8s | regex regular_expression regexp | environment env | variable var | package library
library module | version release | deployment release | attachment file | archive store
uk united_kingdom britain great_britain | usa united_states america | eu european_union | nyc new_york_city new_york
uae united_arab_emirate | gbp pound sterling quid | pound lb | dollar usd buck | eur euro | jpy yen | inr rupee
cny yuan renminbi | aud australian_dollar | cad canadian_dollar | chf swiss_franc | celsius centigrade | percent percentage %
ai artificial_intelligence | ml machine_learning | llm large_language_model | hr human_resource | vat value_added_tax
ev electric_car electric_vehicle | 2fa two_factor_authentication two_factor tfa two_step_verification | sso single_sign_on
atm cash_machine cashpoint | customer_service customer_support customer_care support helpdesk help_desk | gift present
warranty guarantee | insurance cover coverage | mortgage home_loan | contract agreement | membership member
subscription plan membership | plan package tier | scheme plan | removal remove | renewal renew | approval approve
refusal refuse | registration register | enrollment enroll | proposal propose | solution solve | choice choose | growth grow
sale sell | analysis analyze | proof prove | belief believe | failure fail | flight fly | complaint complain
delivery deliver | discovery discover | recovery recover | subscription subscribe | description describe
admission admit admittance | decision decide | opening open | loss lose | weather forecast | application apply
identification identify | explanation explain | pronunciation pronounce | translation translate | withdrawal withdraw
payment pay | thief theft | width wide | depth deep | height tall high | weight heavy weigh | length long | speed fast
strength strong | difference differ different | importance important | possibility possible | safety safe
availability available | difficulty difficult | wifi wireless wireless_internet | internet wifi | permission permit
permission allow | kill terminate | entitled eligible qualify | grade result mark score | silence mute | swimming_pool pool
capital_city capital | insurance_policy insurance | order_value order | web_browser browser | train_station station
cinema movie_theater | appeal contest dispute challenge | report flag | reach_out contact | hotline helpline
quote quotation estimate | remaining left leftover | payslip pay_slip paycheck pay_stub
annual_leave holiday vacation paid_leave | sick_leave sick_day | raise pay_rise pay_raise salary_increase
headphone headset earphone | glitch bug | hack compromise breach | scam fraud | spam junk | popup pop_up
ad advert advertisement | feedback review | review rating | comment remark | tip hint suggestion | vegetarian veggie
vegan plant_based | kid_friendly child_friendly family_friendly | round_trip return | one_way single | layover stopover
hand_luggage carry_on cabin_bag cabin_luggage hand_baggage | checked_bag hold_luggage checked_luggage
high_blood_pressure hypertension | flu influenza | belly stomach tummy abdomen | painkiller pain_reliever
paracetamol acetaminophen tylenol | covid coronavirus | credit_score credit_rating | retirement retire
wire_transfer bank_transfer | deposit down_payment | convert cast | print display | memory ram | cpu processor
gpu graphics_card | os operating_system | doc documentation | production prod | development dev | info information detail
spec specification | vscode vs_code visual_studio_code | mac macos | c# c_sharp csharp | temperature temp | average avg
people ppl | difference diff | account acct | password pwd pw | appointment appt | government govt | versus vs
watch see view | discard throw_away dispose_of get_rid_of throw_out | bring take carry | allow accept permit
support accept allow | expect anticipate | depend rely | consist comprise | start found establish | die pass_away
take_place happen hold | value worth | size dimension | beginner newbie novice | expert professional | elderly senior
teenager teen adolescent | woman female lady | man male | mom mum mother mummy | dad father daddy | grandma grandmother
grandpa grandfather | quiet silent | loud noisy | noise sound | smell odor scent | leak drip | blocked clogged block clog
power electricity | power_cut power_outage blackout outage | roommate flatmate housemate
lease tenancy_agreement rental_agreement rental_contract | evict kick_out | in_stock available | out_of_stock sold_out
size_guide size_chart | gift_card gift_voucher gift_certificate | loyalty_point reward_point
basket cart shopping_cart shopping_basket | trial free_trial trial_period | homework assignment | tuition tuition_fee
happy glad | angry mad | scared afraid | tired exhausted | pretty beautiful | select pick_out | handle cope_with
tidy clean_up | repair_shop garage | schedule timetable | timetable time_table | schedule calendar | agenda schedule
effect result | opening_hour open_time | close_time closing_time | reopen open_again | redo do_again | step stage
stage phase | goal target | aim target | rank position | chance likelihood probability odds | risk danger hazard
rule guideline | guideline guidance | guide manual handbook | manual instruction | key_feature main_feature | lack shortage
shortage scarcity | proof evidence | request application | apply request | withdraw take_out get_out cash_out
top_up recharge reload add_credit | battery_life battery | tariff rate | unlimited no_limit | limit cap restriction
quota limit allowance | cancel scrap | skip bypass | ignore disregard | omit leave_out | shrink reduce | resize change_size
rename change_name | transfer hand_over | pass_on transfer | share forward | forward redirect | redirect reroute
hide conceal | expose reveal | attach join | fasten attach | detach remove | separate split | merge consolidate
group cluster | label tag | tag mark | highlight mark | underline emphasize | edit revise | proofread check | summarize sum_up
summary overview | overview introduction | outline summary | topic subject | theme topic | title heading | header heading
paragraph section | chapter section | word term | expression phrase | opposite antonym | spelling spell | abroad overseas
accept take | aid help | alone by_myself | amazing awesome incredible | annoying irritating | assign allocate
awful terrible horrible | beach seaside | beat defeat | blank empty | brand make | brief short | certain sure
careful cautious | chance opportunity | clear obvious | clever smart intelligent | clothes clothing | coat jacket
collect gather | collect pick_up | comfortable comfy | completely fully entirely totally | complicated complex | concern worry
concert gig | continue proceed carry_on | country nation | deadly fatal lethal | delicious tasty | detect spot identify
device gadget | dinner supper | dirty filthy | disappear vanish | duty responsibility obligation | earth world planet
engine motor | entrance entry | equipment gear | event occasion | excellent great | glasses eyeglasses spectacles
fabric cloth material | feeling emotion | fluid liquid | focus concentrate | forbidden prohibited banned | forest woods
friend mate buddy | frighten scare | petrol gas gasoline | funny humorous amusing | global worldwide international
grateful thankful | gym fitness_center | highway motorway freeway | hike trek | hurry rush | idea thought
immediately instantly right_away at_once straight_away | inform tell notify | resident inhabitant | insect bug
investigate look_into | join attend | lawn grass | maintain keep_up | mix blend combine | modern contemporary
motorbike motorcycle | nervous anxious | opinion view | outdoors outside | trousers pants | passenger traveler
poisonous toxic | poison toxin | portion serving | powerful strong | predict forecast | prize award | quarrel argue
raw uncooked | relax rest unwind | reliable dependable trustworthy | remember recall | rescue save | restrict limit
rich wealthy | route path | rude impolite | rug carpet | sea ocean | shout yell | skill ability | slim thin | soil dirt
story tale | surgery operation | surname last_name family_name | first_name given_name forename | taste flavor | taxi cab
transport transportation | unemployed jobless | unhappy sad | useful helpful handy | victory win | winner champion
internet_connection internet | driving_license driver_license | wet damp | cookie biscuit | eggplant aubergine
zucchini courgette | cilantro coriander | shrimp prawn | soccer football | sweater jumper | diaper nappy
stroller pram pushchair | flashlight torch | vacuum_cleaner hoover vacuum | sidewalk pavement | crosswalk zebra_crossing
faucet spigot | check_up checkup | sunscreen sun_cream suncream | band_aid plaster | pharmacy chemist drugstore
physiotherapy physical_therapy | blood_sugar glucose | cell_phone cellphone | text_message text sms | voicemail voice_message
home_screen homescreen | power_bank battery_pack | usb_stick flash_drive usb_drive thumb_drive | hard_drive hard_disk
dataframe data_frame | virtual_environment venv virtualenv | env_var environment_variable env_variable | time_stamp timestamp
file_name filename | host_name hostname | user_id userid | open_source opensource | real_time realtime | match game
"""


@cache
def _table() -> Mapping[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for number, group in enumerate(_GROUPS.replace("\n", "|").split("|")):
        for word in group.split():
            found.setdefault(word, set()).add(number)
    return {word: frozenset(numbers) for word, numbers in found.items()}


def groups_of(word: str) -> frozenset[int]:
    """The numbers of the groups that a base form is in."""
    return _table().get(word, frozenset())


@cache
def phrases() -> Mapping[str, tuple[tuple[str, ...], ...]]:
    """The phrases above by their first word, longest first."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for word in _table():
        if "_" in word:
            parts = tuple(word.split("_"))
            found.setdefault(parts[0], []).append(parts)
    return {first: tuple(sorted(several, key=lambda parts: (-len(parts), parts))) for first, several in found.items()}
