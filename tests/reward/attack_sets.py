"""Which layer holds which attack, found by running every attack with one layer, and with none."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEVER_HERE = {
    "let_anybody_trace": "a kernel with Yama only",
    "raise_a_hard_limit": "takes CAP_SYS_RESOURCE, which root has not in every container",
    "load_a_kernel": "a kernel with kexec only",
    "load_a_kernel_file": "a kernel with kexec only",
    "load_a_module": "a kernel with modules only",
    "load_a_module_file": "a kernel with modules only",
    "remove_a_module": "a kernel with modules only",
    "talk_to_hardware": "a kernel with iopl only",
    "talk_to_a_port": "a kernel with ioperm only",
    "crypto_socket": "a kernel with AF_ALG only",
    "x32_call": "a kernel with the x32 ABI only",
    "find_a_spare_descriptor": "no layer: every child closes them (see its own control)",
    "seal_standard_input": "no layer: it is made so that it cannot be sealed",
    "see_a_terminal_of_its_own": "no layer: the zygote leads a session without a terminal",
}
"""Attacks that the machine these sets were made on refuses without any layer, and why. So they have no control here."""

NEEDS_ROOT = _names("""
    adjust_the_clock advise_the_zygotes_memory ask_for_the_zygotes_locks be_nicer_to_itself become_root
    become_root_in_every_way change_a_mode_by_a_descriptor change_a_mount change_an_attribute change_root
    change_secure_bits change_the_standard_library clone_a_tree clone_into_a_namespace compare_with_the_zygote
    drop_a_bounding_capability follow_the_zygotes_descriptor follow_the_zygotes_folder gain_a_capability
    join_a_namespace join_a_namespace_through_a_pidfd join_groups join_the_group_of_root keep_all_memory_in_place
    lease_a_file list_a_home list_the_zygotes_root load_a_bpf_map log_processes_to_a_file look_at_the_zygotes_pages
    make_a_device map_page_zero measure_performance mount_a_file_system mount_again mount_an_open_file_system
    move_a_mount new_cgroup_namespace new_host_name_namespace new_ipc_namespace new_mount_namespace
    new_network_namespace new_process_namespace new_time_namespace open_a_file_by_handle open_a_file_system
    packet_socket pick_a_file_system raw_socket read_files_as_root read_from_the_pipe_for_output
    read_from_the_pipe_for_reports read_its_environment read_memory_by_number read_the_kernel_log read_the_passwords
    read_the_zygotes_environment read_the_zygotes_mappings read_the_zygotes_memory rename_the_domain rename_the_machine
    restart_the_machine run_in_real_time set_the_time_zone stop_swapping_to_a_file swap_the_root swap_to_a_file
    take_a_descriptor trace_the_zygote trace_through_a_child type_on_a_terminal unmount watch_a_file_system
    write_a_setting write_its_memory write_its_memory_score write_its_name write_its_user_map write_memory_by_number
    write_the_zygotes_memory write_the_zygotes_memory_score write_to_the_kernel_log
""")
"""Without root these fail without any layer too."""

_NOT_FOR_SECCOMP = _names("""
    follow_the_zygotes_descriptor follow_the_zygotes_folder list_a_folder list_a_home list_its_descriptors
    list_its_own_root list_the_processes list_the_root list_the_zygotes_root list_through_the_working_directory
    lock_a_mapping map_page_zero read_a_device read_a_file read_a_file_below_a_descriptor
    read_a_file_from_the_working_directory read_a_file_through_a_link read_a_file_through_parents read_a_kernel_object
    read_a_setting read_from_the_pipe_for_output read_from_the_pipe_for_reports read_its_environment read_its_mappings
    read_its_mounts read_its_status read_shared_memory_segments read_the_accounts read_the_first_process
    read_the_kernels_symbols read_the_passwords read_the_zygotes_command read_the_zygotes_environment
    read_the_zygotes_mappings read_the_zygotes_memory read_what_is_locked read_who_has_keys read_who_is_connected
    resolve_a_name write_to_standard_input
""")
"""Reading is for Landlock and the namespaces to refuse, page zero and locked mappings for privileges and limits."""

_BY_LANDLOCK = _names("""
    ask_for_the_zygotes_locks change_its_own_file change_the_standard_library compare_with_the_zygote copy_a_file
    create_by_number cut_a_file empty_a_file execute execute_a_descriptor execute_from_memory
    follow_the_zygotes_descriptor follow_the_zygotes_folder fork_with_a_terminal join_a_namespace
    join_a_namespace_through_a_pidfd list_a_folder list_a_home list_its_descriptors list_its_own_root
    list_the_processes list_the_root list_the_zygotes_root list_through_the_working_directory listen_on_loopback
    look_at_the_zygotes_pages make_a_device make_a_folder make_a_hard_link make_a_link make_a_named_pipe
    map_a_file_for_writing mount_a_file_system mount_again named_message_queue open_a_file_by_handle
    open_a_pipe_to_a_command queue_a_signal queue_a_signal_to_a_thread read_a_device read_a_file
    read_a_file_below_a_descriptor read_a_file_by_another_call read_a_file_from_the_working_directory
    read_a_file_through_a_link read_a_file_through_parents read_a_kernel_object read_a_setting read_and_write_a_file
    read_its_environment read_its_mappings read_its_mounts read_its_status read_memory_by_number
    read_shared_memory_segments read_the_accounts read_the_first_process read_the_kernels_symbols read_the_passwords
    read_the_zygotes_command read_the_zygotes_environment read_the_zygotes_mappings read_the_zygotes_memory
    read_what_is_locked read_who_has_keys read_who_is_connected remove_a_file remove_a_folder rename_a_file
    rename_the_domain resolve_a_name run_a_command signal_a_thread signal_a_thread_the_old_way signal_by_number
    signal_the_zygote signal_through_a_pidfd spawn_a_shell system take_a_descriptor trace_the_zygote type_on_a_terminal
    write_a_file write_a_file_by_another_call write_a_setting write_its_memory write_its_memory_score write_its_name
    write_its_user_map write_memory_by_number write_the_zygotes_memory write_the_zygotes_memory_score
    write_to_shared_memory write_to_the_kernel_log write_to_the_working_directory write_to_tmp write_without_a_name
""")

_BY_PRIVILEGES = _names("""
    adjust_the_clock advise_the_zygotes_memory ask_for_the_zygotes_locks be_nicer_to_itself become_root
    become_root_in_every_way change_a_mode change_a_mode_by_a_descriptor change_a_mode_by_another_call change_a_mount
    change_an_attribute change_an_owner change_root change_secure_bits change_the_mode_of_a_pipe
    change_the_standard_library choose_processors_of_the_zygote clone_a_tree clone_into_a_namespace
    compare_with_the_zygote drop_a_bounding_capability follow_the_zygotes_descriptor follow_the_zygotes_folder
    gain_a_capability join_a_namespace join_a_namespace_through_a_pidfd join_groups join_the_group_of_root
    keep_all_memory_in_place list_a_home list_the_zygotes_root load_a_bpf_map log_processes_to_a_file
    look_at_the_zygotes_pages make_a_device map_page_zero measure_performance mount_a_file_system mount_again
    mount_an_open_file_system move_a_mount new_cgroup_namespace new_host_name_namespace
    new_ipc_namespace new_mount_namespace new_network_namespace new_process_namespace new_time_namespace
    open_a_file_by_handle open_a_file_system packet_socket pick_a_file_system queue_a_signal queue_a_signal_to_a_thread
    raw_socket read_files_as_root read_from_the_pipe_for_output read_from_the_pipe_for_reports read_its_environment
    read_memory_by_number read_the_kernel_log read_the_passwords read_the_zygotes_environment read_the_zygotes_mappings
    read_the_zygotes_memory rename_the_domain rename_the_machine restart_the_machine run_in_real_time
    see_a_limit_of_the_zygote set_a_limit_of_the_zygote set_the_time_zone signal_a_thread signal_a_thread_the_old_way
    signal_by_number signal_the_zygote signal_through_a_pidfd slow_the_zygote_down stop_swapping_to_a_file
    swap_the_root swap_to_a_file take_a_descriptor trace_the_zygote trace_through_a_child type_on_a_terminal unmount
    watch_a_file_system write_a_setting write_its_memory write_its_memory_score write_its_name write_its_user_map
    write_memory_by_number write_the_zygotes_memory write_the_zygotes_memory_score write_to_the_kernel_log
""")

_BY_NAMESPACES = _names("""
    change_a_mode change_a_mode_by_a_descriptor change_a_mode_by_another_call change_an_attribute change_an_owner
    change_the_standard_library change_times copy_a_file create_by_number cut_a_file empty_a_file execute
    execute_a_descriptor execute_from_memory follow_the_zygotes_descriptor follow_the_zygotes_folder
    fork_with_a_terminal hold_a_place join_a_namespace list_a_folder list_a_home list_its_descriptors list_its_own_root
    list_the_processes list_the_root list_the_zygotes_root list_through_the_working_directory make_a_device
    make_a_folder make_a_hard_link make_a_link make_a_named_pipe map_a_file_for_writing name_a_file_by_handle
    open_a_file_by_handle open_a_pipe_to_a_command read_a_device read_a_file read_a_file_below_a_descriptor
    read_a_file_by_another_call read_a_file_from_the_working_directory read_a_file_through_a_link
    read_a_file_through_parents read_a_kernel_object read_a_setting read_and_write_a_file read_from_the_pipe_for_output
    read_from_the_pipe_for_reports read_its_environment read_its_mappings read_its_mounts read_its_status
    read_shared_memory_segments read_the_accounts read_the_first_process read_the_kernels_symbols read_the_passwords
    read_the_zygotes_command read_the_zygotes_environment read_the_zygotes_mappings read_the_zygotes_memory
    read_what_is_locked read_who_has_keys read_who_is_connected remove_a_file remove_a_folder rename_a_file
    rename_the_domain resolve_a_name run_a_command spawn_a_shell system type_on_a_terminal write_a_file
    write_a_file_by_another_call write_a_setting write_its_memory write_its_memory_score write_its_name
    write_its_user_map write_the_zygotes_memory write_the_zygotes_memory_score write_to_shared_memory
    write_to_the_kernel_log write_to_tmp write_without_a_name
""")

_BY_PROCESS_NAMESPACE = _names("""
    advise_the_zygotes_memory ask_for_the_zygotes_locks choose_processors_of_the_zygote
    choose_which_process_a_pipe_signals choose_whom_a_pipe_signals compare_with_the_zygote
    join_a_namespace_through_a_pidfd look_at_the_zygotes_pages open_a_pidfd queue_a_signal queue_a_signal_to_a_thread
    read_memory_by_number see_a_limit_of_the_zygote set_a_limit_of_the_zygote signal_a_thread
    signal_a_thread_the_old_way signal_by_number signal_everybody signal_the_zygote signal_through_a_pidfd
    slow_the_zygote_down take_a_descriptor trace_the_zygote write_memory_by_number
""")

_BY_LIMITS = _names("""
    named_message_queue reserve_room_in_standard_input write_elsewhere_in_standard_input write_to_standard_input
""")

BY_LIMITS_AND_PRIVILEGES = frozenset({"lock_a_mapping"})
"""The limit on locked memory binds nobody who has root's privileges, so here two layers hold together."""


def held(every: frozenset[str], *, as_root: bool) -> dict[str, frozenset[str]]:
    """By layer, the attacks of `every` that it is there for."""
    by_layer = {
        "seccomp": every - _NOT_FOR_SECCOMP - NEVER_HERE.keys(),
        "landlock": _BY_LANDLOCK,
        "namespaces": _BY_NAMESPACES,
        "process namespace": _BY_PROCESS_NAMESPACE,
        "privileges": _BY_PRIVILEGES,
        "limits": _BY_LIMITS,
    }
    # An attack that fails anyway shows nothing of a layer.
    return by_layer if as_root else {layer: names - NEEDS_ROOT for layer, names in by_layer.items()}
