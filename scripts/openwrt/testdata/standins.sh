# Stand-ins for what OpenWrt gives to an init script. Each call of procd is a line of $BOX/calls, its
# words separated by tabs; $BOX/uci/PACKAGE holds SECTION.OPTION=VALUE.
record() {
	local line="$1" word
	shift
	for word in "$@"; do line="$line	$word"; done
	echo "$line" >>"$BOX/calls"
}
for name in procd_open_instance procd_close_instance procd_set_param procd_add_jail procd_add_jail_mount \
	procd_add_jail_mount_rw procd_add_reload_trigger procd_add_raw_trigger procd_add_restart_mount_trigger \
	procd_send_signal default_postinst default_prerm add_group_and_user; do
	eval "$name() { record $name \"\$@\"; }"
done
procd_running() { [ -e "$BOX/running" ]; }

config_load() { CONFIG=$1; }
config_get() { # variable, section, option, default
	local value
	value=$(sed -n "s/^$2\.$3=//p" "$BOX/uci/$CONFIG" 2>/dev/null | tail -n 1)
	eval "$1=\${value:-\$4}"
}
config_get_bool() {
	local truth
	config_get truth "$2" "$3" "$4"
	case "$truth" in
	1 | on | true | yes | enabled) eval "$1=1" ;;
	*) eval "$1=0" ;;
	esac
}
uci() { # -q get PACKAGE.SECTION
	grep -q "^${3#*.}\." "$BOX/uci/${3%%.*}" 2>/dev/null
}
config_foreach() { # function, type
	local section
	for section in $(sed -n 's/\..*//p' "$BOX/uci/$CONFIG" 2>/dev/null | sort -u); do "$1" "$section"; done
}

logger() { # -t edgesync -p daemon.LEVEL TEXT
	echo "${4#daemon.}: $5" >>"$BOX/log"
}
chown() { record chown "$@"; [ ! -e "$BOX/nochown" ]; }

# What rc.common does with a service of procd.
start() {
	start_service "$@"
	service_triggers
}
reload() { reload_service "$@"; }
stop() { stop_service "$@"; }
restart() {
	stop "$@"
	start "$@"
}
